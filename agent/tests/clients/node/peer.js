// A service and its caller, in Node: `http` and `ws` for HTTP and WebSocket, @grpc/grpc-js for gRPC.
//
// In: `serve`, or `call` with the addresses of HTTP and gRPC, the proxy, and whether the service speaks WebSocket.
// Out: the ports as JSON, or exit code 1 with the first thing that was not as it must be.
// Left out on purpose: tracing. Nothing here knows of it but what it copies from its caller.
'use strict';

const assert = require('node:assert');
const http = require('node:http');
const grpc = require('@grpc/grpc-js');
const { WebSocket, WebSocketServer } = require('ws');

const LARGE = 10 << 20;
const method = (name, requestStream, responseStream) => ({
  path: `/story.Story/${name}`, requestStream, responseStream,
  requestSerialize: (bytes) => bytes, requestDeserialize: (bytes) => bytes,
  responseSerialize: (bytes) => bytes, responseDeserialize: (bytes) => bytes,
});
const STORY = {
  Unary: method('Unary', false, false), Stream: method('Stream', false, true), Bidi: method('Bidi', true, true),
  Missing: method('Missing', false, false), Slow: method('Slow', false, false),
};

function answer(request, response) {
  switch (request.url) {
    case '/hello': {
      const body = request.method === 'HEAD' ? '' : 'hello';
      response.writeHead(200, { 'content-length': 5, 'x-traceparent': request.headers.traceparent ?? '' });
      return response.end(body);
    }
    case '/echo': return request.pipe(response);
    case '/events':
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      for (let number = 0; number < 3; number++) response.write(`data: ${number}\n\n`);
      return response.end();
    case '/fail': return response.writeHead(503).end('not now');
    case '/large': return response.end(Buffer.alloc(LARGE, 'x'));
    default: return response.writeHead(404).end();
  }
}

const IMPLEMENTED = {
  Unary(call, done) {
    const initial = new grpc.Metadata();
    initial.set('x-initial', 'yes');
    call.sendMetadata(initial);
    const trailing = new grpc.Metadata();
    trailing.set('x-seen', call.metadata.get('x-asked')[0] ?? '');
    done(null, call.request, trailing);
  },
  Stream(call) {
    for (let number = 0; number < Number(call.request.toString()); number++) call.write(Buffer.from(String(number)));
    call.end();
  },
  Bidi(call) { call.on('data', (bytes) => call.write(bytes)).on('end', () => call.end()); },
  Missing(_, done) {
    const metadata = new grpc.Metadata();
    metadata.set('x-details-bin', Buffer.from([0, 1]));
    done({ code: grpc.status.NOT_FOUND, details: 'no such thing', metadata });
  },
  Slow() {},
};

function serve() {
  const server = http.createServer(answer);
  const sockets = new WebSocketServer({ server, path: '/chat', handleProtocols: () => 'story', maxPayload: 2 * LARGE });
  sockets.on('connection', (socket) => socket.on('message', (bytes, binary) => {
    if (!binary && bytes.toString() === 'bye') socket.close(4001, 'bye');
    else socket.send(bytes, { binary });
  }));
  const rpc = new grpc.Server();
  rpc.addService(STORY, IMPLEMENTED);
  rpc.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, port) => {
    assert.ifError(error);
    server.listen(0, '127.0.0.1', () => {
      console.log(JSON.stringify({ http: server.address().port, grpc: port, websocket: true }));
    });
  });
}

function ask(options, send = (request) => request.end()) {
  return new Promise((resolve, reject) => {
    const request = http.request(options, (response) => {
      const pieces = [];
      response.on('data', (piece) => pieces.push(piece)).on('error', reject);
      response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, body: Buffer.concat(pieces) }));
    });
    request.on('error', reject);
    send(request);
  });
}

async function callHttp(address, proxy) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const [host, port] = address.split(':');
  const get = (path, more = {}, send) => ask({ host, port, path, agent, ...more }, send);
  const hello = await get('/hello');
  assert.strictEqual(hello.body.toString(), 'hello');
  assert(hello.headers['x-traceparent']);
  assert.strictEqual((await get('/hello', { method: 'HEAD' })).headers['content-length'], '5');
  const numbers = Array.from({ length: 100 }, (_, number) => `${number},`);
  const echoed = await get('/echo', { method: 'POST' }, (request) => {
    numbers.forEach((number) => request.write(number));
    request.end();
  });
  assert.strictEqual(echoed.body.toString(), numbers.join(''));
  const expects = { method: 'POST', headers: { expect: '100-continue', 'content-length': 9 } };
  const continued = await get('/echo', expects, (request) => request.on('continue', () => request.end('continued')));
  assert.strictEqual(continued.body.toString(), 'continued');
  assert.strictEqual((await get('/events')).body.toString(), 'data: 0\n\ndata: 1\n\ndata: 2\n\n');
  assert.strictEqual((await get('/fail')).status, 503);
  assert.strictEqual((await get('/large')).body.length, LARGE);
  const [proxyHost, proxyPort] = proxy.split(':');
  const proxied = { host: proxyHost, port: proxyPort, path: `http://${address}/hello`, headers: { host: address } };
  assert.strictEqual((await ask(proxied)).body.toString(), 'hello');
  agent.destroy();
}

function callWebSocket(address) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`ws://${address}/chat`, ['story'], { maxPayload: 2 * LARGE });
    const seen = [];
    socket.on('error', reject);
    socket.on('open', () => {
      assert.strictEqual(socket.protocol, 'story');
      socket.ping('are you there');
      socket.send('text');
    });
    socket.on('pong', (bytes) => seen.push(`pong ${bytes}`));
    socket.on('message', (bytes, binary) => {
      seen.push(binary ? `bytes ${bytes.length}` : `text ${bytes}`);
      if (binary) socket.send('bye'); else socket.send(Buffer.alloc(LARGE, 'x'));
    });
    socket.on('close', (code) => {
      seen.push(`closed ${code}`);
      try {
        assert.deepStrictEqual(seen, ['pong are you there', 'text text', `bytes ${LARGE}`, 'closed 4001']);
        resolve();
      } catch (error) { reject(error); }
    });
  });
}

async function callGrpc(address) {
  const client = new (grpc.makeGenericClientConstructor(STORY, 'Story'))(address, grpc.credentials.createInsecure());
  const unary = (name, bytes, metadata = new grpc.Metadata(), options = {}) => new Promise((resolve) => {
    const out = {};
    const call = client[name](bytes, metadata, options, (error, value) => { out.error = error; out.value = value; });
    call.on('metadata', (initial) => { out.initial = initial; });
    call.on('status', (status) => resolve({ ...out, status }));
  });
  const asked = new grpc.Metadata();
  asked.set('x-asked', 'two');
  const one = await unary('Unary', Buffer.from('one'), asked);
  assert.strictEqual(one.value?.toString(), 'one', String(one.error));
  assert.deepStrictEqual(one.initial.get('x-initial'), ['yes']);
  assert.deepStrictEqual(one.status.metadata.get('x-seen'), ['two']);
  const streamed = [];
  for await (const item of client.Stream(Buffer.from('1000'))) streamed.push(Number(item.toString()));
  assert.deepStrictEqual(streamed, Array.from({ length: 1000 }, (_, number) => number));
  const bidi = client.Bidi();
  const echoes = bidi[Symbol.asyncIterator]();
  for (let number = 0; number < 5; number++) {
    bidi.write(Buffer.from(String(number)));
    assert.strictEqual((await echoes.next()).value.toString(), String(number));
  }
  bidi.end();
  assert((await echoes.next()).done);
  const missing = await unary('Missing', Buffer.alloc(0));
  assert.strictEqual(missing.status.code, grpc.status.NOT_FOUND);
  assert.strictEqual(missing.status.details, 'no such thing');
  assert.deepStrictEqual(missing.status.metadata.get('x-details-bin')[0], Buffer.from([0, 1]));
  const slow = await unary('Slow', Buffer.alloc(0), new grpc.Metadata(), { deadline: Date.now() + 300 });
  assert.strictEqual(slow.status.code, grpc.status.DEADLINE_EXCEEDED);
  client.close();
}

async function call([address, grpcAddress, proxy, websocket]) {
  await callHttp(address, proxy);
  if (websocket === 'true') await callWebSocket(address);
  await callGrpc(grpcAddress);
  console.log('as it must be');
}

if (process.argv[2] === 'serve') serve();
else call(process.argv.slice(3)).catch((error) => { console.error(error); process.exit(1); });
