'use strict';
/* A FastCGI client (FastCGI 1.0, "FastCGI Specification"), for tests that talk to a worker without a web
 * server between: one request a connection, as web servers do it here. */
const net = require('node:net');

const BEGIN = 1;
const END = 3;
const PARAMS = 4;
const STDIN = 5;
const STDOUT = 6;

function record(type, content) {
    const head = Buffer.alloc(8);
    head[0] = 1;
    head[1] = type;
    head.writeUInt16BE(1, 2);
    head.writeUInt16BE(content.length, 4);
    return Buffer.concat([head, content]);
}

function pair(name, value) {
    const length = (n) => (n < 128 ? Buffer.from([n]) : Buffer.from([0x80 | (n >> 24), n >> 16, n >> 8, n]));
    const [a, b] = [Buffer.from(name), Buffer.from(value)];
    return Buffer.concat([length(a.length), length(b.length), a, b]);
}

function encode(method, uri, body) {
    const params = {
        REQUEST_METHOD: method,
        REQUEST_URI: uri,
        REMOTE_ADDR: '127.0.0.1',
        HTTP_HOST: '127.0.0.1',
        CONTENT_TYPE: body ? 'application/json' : '',
        CONTENT_LENGTH: body ? String(body.length) : '',
    };
    return Buffer.concat([
        record(BEGIN, Buffer.from([0, 1, 0, 0, 0, 0, 0, 0])),
        record(PARAMS, Buffer.concat(Object.entries(params).map(([name, value]) => pair(name, value)))),
        record(PARAMS, Buffer.alloc(0)),
        ...(body ? [record(STDIN, body)] : []),
        record(STDIN, Buffer.alloc(0)),
    ]);
}

/* The bytes of STDOUT, and whether END_REQUEST came. */
function decode(bytes) {
    const out = [];
    let ended = false;
    for (let at = 0; at + 8 <= bytes.length; ) {
        const length = bytes.readUInt16BE(at + 4);
        if (bytes[at + 1] === STDOUT) out.push(bytes.subarray(at + 8, at + 8 + length));
        ended ||= bytes[at + 1] === END;
        at += 8 + length + bytes[at + 6];
    }
    return { text: Buffer.concat(out).toString(), ended };
}

/* {status, json, text}. body: an object, sent as JSON. Rejects when the worker leaves without an answer. */
function fcgiRequest(socketPath, method, uri, body, { timeoutMs = 60000 } = {}) {
    return new Promise((resolve, reject) => {
        const socket = net.connect(socketPath);
        const chunks = [];
        const timer = setTimeout(() => socket.destroy(new Error(`${uri}: no answer in ${timeoutMs} ms`)), timeoutMs);
        socket.on('error', reject);
        socket.on('data', (chunk) => chunks.push(chunk));
        socket.on('close', () => {
            clearTimeout(timer);
            const { text, ended } = decode(Buffer.concat(chunks));
            if (!ended) return reject(new Error(`${uri}: the worker closed the connection after ${text.length} bytes`));
            const split = text.indexOf('\r\n\r\n');
            const status = Number(/^Status: (\d+)/im.exec(text.slice(0, split))?.[1] ?? 200);
            const result = { status, text: text.slice(split + 4) };
            try {
                result.json = JSON.parse(result.text);
            } catch {
                /* stays undefined */
            }
            resolve(result);
        });
        socket.write(encode(method, uri, body && Buffer.from(JSON.stringify(body))));
    });
}

module.exports = { fcgiRequest };
