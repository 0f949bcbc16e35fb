'use strict';
/* Bytes for the sockets of an instance: records of FastCGI, frames of the worker protocol, and where the sockets are. */
const fs = require('node:fs');
const path = require('node:path');

const PARAMS = 4;
const STDIN = 5;

/* One FastCGI record, whatever its content. */
function record(type, content) {
    const head = Buffer.from([1, type, 0, 1, content.length >> 8, content.length & 255, 0, 0]);
    return Buffer.concat([head, content]);
}
const BEGIN = record(1, Buffer.from([0, 1, 0, 0, 0, 0, 0, 0]));

/* One frame of etc/protocol.md; more: fields to get wrong. */
function frame(type, payload = Buffer.alloc(0), { length = payload.length, version = 2, zero = 0, id = 1n } = {}) {
    const head = Buffer.alloc(16);
    head.writeUInt32LE(length, 0);
    head[4] = version;
    head[5] = type;
    head.writeUInt16LE(zero, 6);
    head.writeBigUInt64LE(id, 8);
    return Buffer.concat([head, payload]);
}
const HELLO = 1;
const SUBMIT = 2;
const hello = () => frame(HELLO, Buffer.alloc(24));

/* {prompt, manage, coordinator}: paths of the sockets of a stack. */
function socketsOf(stack) {
    const dir = path.join(stack.storage, 'run');
    const of = (letter) => path.join(dir, fs.readdirSync(dir).find((name) => name.startsWith(letter) && name.includes('.pool')));
    return { prompt: of('p'), manage: of('m'), coordinator: path.join(stack.storage, 'coordinator.sock') };
}

module.exports = { record, BEGIN, PARAMS, STDIN, frame, hello, HELLO, SUBMIT, socketsOf };
