# node: objects, buffers, JSON, compression in its thread pool
# needs: node
case $1 in
prepare) ;;
run) node - "$2" <<'JAVASCRIPT'
const zlib = require('zlib'), crypto = require('crypto');
const scale = Number(process.argv[2]);
let state = 9;
const random = n => ((state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff) >> 8) % n;
const rows = [];
for (let i = 0; i < 30000 * scale; i++)
  rows.push({ id: i, name: 'n' + random(1e9), list: [random(9), random(99), random(999)] });
const text = JSON.stringify(rows);
const map = new Map(JSON.parse(text).map(row => [row.name, row]));
console.log(text.length, map.size, crypto.createHash('sha256').update(text).digest('hex'));
const buffers = [];
for (let i = 0; i < 2000 * scale; i++) buffers[random(500)] = Buffer.alloc(1 + random(100000), i & 255);
console.log(buffers.reduce((sum, buffer) => sum + (buffer ? buffer.length : 0), 0));
const parts = [...Array(16).keys()].map(i => text.slice(i * 60000, (i + 1) * 60000));
Promise.all(parts.map(part => new Promise((done, fail) =>
  zlib.gzip(part, (error, packed) => error ? fail(error) :
    zlib.gunzip(packed, (error, back) => error ? fail(error) : done(back.toString() === part))))))
  .then(results => console.log(results.every(Boolean), results.length));
JAVASCRIPT
;;
esac
