# npm: packing, installing and running packages that lie beside it
# needs: npm node
case $1 in
prepare)
    for i in 1 2 3 4 5 6; do
        mkdir -p "part$i/lib"
        echo "{\"name\": \"part$i\", \"version\": \"1.$i.0\", \"main\": \"lib/index.js\"}" >"part$i/package.json"
        echo "module.exports = n => n * $i;" >"part$i/lib/index.js"
        seq $((2000 * $2)) >"part$i/lib/data.txt"
    done
    mkdir -p whole
    echo '{"name": "whole", "version": "1.0.0", "scripts": {"sum": "node sum.js"}}' >whole/package.json
    echo 'console.log([1, 2, 3, 4, 5, 6].map(i => require("part" + i)(10)).join(" "))' >whole/sum.js ;;
run)
    export npm_config_cache="$PWD/cache" npm_config_offline=true npm_config_audit=false npm_config_fund=false \
        npm_config_update_notifier=false npm_config_loglevel=error
    rm -rf cache again && cp -r whole again && cd again || exit
    for i in 1 2 3 4 5 6; do npm pack --silent "../part$i"; done
    npm install --silent ./part*.tgz && npm ls --parseable | sed 's|.*/||'
    npm run --silent sum
    cd .. && rm -rf cache again ;;
esac
