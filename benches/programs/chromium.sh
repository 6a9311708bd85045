# chromium without a window: a page that builds itself, drawn and printed as text
# needs: chromium cksum
# own malloc: PartitionAlloc, which chromium links over malloc; what its libraries load before main is Strata's
case $1 in
prepare)
    cat >page.html <<'HTML'
<!doctype html><meta charset="utf-8"><title>made</title><body><script>
const scale = Number(location.hash.slice(1));
let state = 3;
const random = n => ((state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff) >> 8) % n;
const table = document.createElement('table');
for (let r = 0; r < 300 * scale; r++) {
  const row = table.insertRow();
  for (let c = 0; c < 8; c++) row.insertCell().textContent = 'v' + random(1e6);
}
document.body.append(table);
const canvas = document.createElement('canvas');
canvas.width = canvas.height = 256;
const context = canvas.getContext('2d');
for (let i = 0; i < 500; i++) { context.fillStyle = `rgb(${random(256)},${random(256)},${random(256)})`; context.fillRect(random(256), random(256), 20, 20); }
document.body.append(canvas.toDataURL().length > 1000 ? 'drawn' : 'empty');
</script>
HTML
    ;;
run)
    directory=$(mktemp -d) || exit
    trap 'rm -rf "$directory"' EXIT
    chromium --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking \
        --disable-component-update --disable-sync --disable-dev-shm-usage --user-data-dir="$directory" \
        --dump-dom "file://$PWD/page.html#$2" 2>/dev/null | tee page.out | cksum
    grep -c '<tr>' page.out
    grep -o 'drawn' page.out | tail -n 1 ;;
esac
