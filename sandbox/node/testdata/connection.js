// Requests of connection.js, whose path is the argument, to Node's own server.
'use strict';
const http = require('http'), assert = require('assert'), crypto = require('crypto');
const { exchange } = require(process.argv[2]);
const sha1 = (data) => crypto.createHash('sha1').update(data).digest('hex');

let connections = 0;

const answers = {
  '/echo': (q, s, body) => s.end(body),
  '/long': (q, s) => {
    const data = crypto.randomBytes(3e6);
    s.writeHead(200, { sum: sha1(data), 'content-length': data.length }).end(data);
  },
  '/chunked': (q, s) => {
    const data = crypto.randomBytes(Number(q.headers['x-n']));
    s.setHeader('sum', sha1(data));
    let at = 0;
    (function next() {
      if (at >= data.length) return s.end();
      const size = 1 + Math.floor(Math.random() * 9000);
      s.write(data.subarray(at, at += size));
      setImmediate(next);
    })();
  },
  '/looks-ended': (q, s) => {
    s.write('0\r\n\r\n');
    setTimeout(() => s.end('more 0\r\n\r\n'), 20);
  },
  '/none': (q, s) => s.writeHead(204).end(),
  '/continue': (q, s) => { s.writeContinue(); s.end('after'); },
  '/close': (q, s) => s.writeHead(200, { connection: 'close' }).end('bye'),
  '/break': (q, s) => s.destroy(),
};

const server = http.createServer((q, s) => {
  const parts = [];
  q.on('data', (part) => parts.push(part));
  q.on('end', () => answers[q.url](q, s, Buffer.concat(parts)));
}).on('connection', () => connections++);

async function test() {
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const at = (path, headers = {}, method = 'POST') => ({ method, hostname: '127.0.0.1', port: server.address().port, path, headers });
  const get = (path, headers) => exchange(at(path, headers, 'GET'));
  for (const n of [0, 1, 5, 1000, 70000, 500000]) {
    const data = crypto.randomBytes(n);
    assert((await exchange(at('/echo', { 'content-length': n }), data)).body.equals(data), `echo of ${n} bytes`);
  }
  for (const n of [1, 10, 9000, 400000]) {
    const answer = await get('/chunked', { 'x-n': n });
    assert.equal(sha1(answer.body), answer.headers.sum);
  }
  const long = await get('/long');
  assert.equal(sha1(long.body), long.headers.sum);
  assert.equal((await get('/none')).status, 204);
  assert.equal(String((await get('/continue')).body), 'after');
  assert.equal(String((await get('/looks-ended')).body), '0\r\n\r\nmore 0\r\n\r\n');
  assert.equal(connections, 1, 'connections for requests one after another');
  assert.equal(String((await get('/close')).body), 'bye');
  await get('/none');
  assert.equal(connections, 2, 'connections after one that the server closed');
  await assert.rejects(get('/break'), (e) => e.code === 'ECONNRESET' && e.kept);
  await assert.rejects(get('/break'), (e) => e.code === 'ECONNRESET' && !e.kept);
  await Promise.all(Array.from({ length: 20 }, async (_, i) => {
    assert.equal(String((await exchange(at('/echo', { 'content-length': 3 }), 'ab' + (i % 10))).body), 'ab' + (i % 10));
  }));
  await assert.rejects(get('/none', { x: 'a\r\nb: c' }), /Invalid character/);
  server.close();
  server.closeAllConnections();
}

test().then(() => console.log('ok'), (e) => { console.error(e); process.exit(1); });
