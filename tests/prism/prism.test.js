'use strict';
/* That prism would notice: a server whose answers are none of the document's, and one that takes what it must refuse. */
const assert = require('node:assert/strict');
const http = require('node:http');
const nodeTest = require('node:test');
const { Client } = require('../integration/http_client');
const { Prism } = require('./prism');

let server, client, prism, answer;

nodeTest.before(async () => {
    server = http.createServer((req, res) => {
        req.resume();
        res.writeHead(answer.status, { 'Content-Type': 'application/json', 'X-Request-Id': 'r', 'Server-Timing': 'a' });
        res.end(JSON.stringify(answer.body));
    });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    prism = await Prism.start(server.address().port);
    client = new Client(server.address().port);
    client.prismPort = prism.port;
});
nodeTest.after(async () => {
    client.close();
    await prism.stop();
    server.closeAllConnections();
    server.close();
});

nodeTest.test('an answer of the document passes', async () => {
    answer = { status: 200, body: { result: 'yes' } };
    assert.deepEqual((await client.post('/query', { query: 'x' })).json, { result: 'yes' });
});

nodeTest.test('an answer of another shape does not', async () => {
    answer = { status: 200, body: { results: ['no'] } };
    await assert.rejects(client.post('/query', { query: 'x' }), /prism on the response to POST \/query/);
});

nodeTest.test('nor a status that is not in it, though there prism only warns', async () => {
    answer = { status: 418, body: {} };
    await assert.rejects(client.post('/query', { query: 'x' }), /418 is not documented/);
});

nodeTest.test('nor that something wrong is taken', async () => {
    answer = { status: 200, body: { result: 'yes' } };
    await assert.rejects(client.post('/query', { query: 7 }), /prism refuses POST \/query .* the server answers 200/);
});
