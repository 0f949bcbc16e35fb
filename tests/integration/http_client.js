'use strict';
/*
 * The HTTP client of the integration tests: JSON requests over kept-alive connections with their time taken,
 * and raw bytes for requests that no proper client would send. Every response must carry X-Request-Id and fit
 * web/openapi.json. With PRISM=1 most go through prism (tests/prism).
 */
const assert = require('node:assert/strict');
const http = require('node:http');
const net = require('node:net');
const { performance } = require('node:perf_hooks');
const { OpenApi } = require('./openapi');

const openapi = OpenApi.load();

class Client {
    constructor(port, host = '127.0.0.1') {
        this.port = port;
        this.host = host;
        /* Idle connections are given up before lighttpd (5 s) does, so that none is used in the instant it closes. */
        this.agent = new http.Agent({ keepAlive: true, timeout: 3000 });
    }

    close() {
        this.agent.destroy();
    }

    /*
     * {status, headers, text, json, ms}. body: an object (sent as JSON) or a string or Buffer (sent as it is).
     * Rejects when the connection breaks or timeoutMs passes. check: false leaves the response unchecked;
     * fresh: a connection of its own; signal: an AbortSignal, for a client that leaves.
     */
    async request(method, path, options = {}) {
        const { body, check = true, fresh, signal } = options;
        const send = (port) => this.#send(port ?? this.port, method, path, options);
        /* Prism writes bodies anew, and connections are its own. */
        const direct = !this.prismPort || !check || fresh || signal || typeof body === 'string' || Buffer.isBuffer(body);
        const result = direct
            ? await send()
            : await require('../prism/prism').throughPrism(this.prismPort, send, `${method} ${path} ${JSON.stringify(body)}`);
        if (check) this.#check(method, path, result);
        return result;
    }

    #send(port, method, path, { body, headers = {}, timeoutMs = 60000, fresh = false, signal }) {
        const payload =
            body === undefined
                ? undefined
                : typeof body === 'string' || Buffer.isBuffer(body)
                  ? Buffer.from(body)
                  : Buffer.from(JSON.stringify(body));
        const send = { ...headers };
        if (payload && !Object.keys(send).some((name) => name.toLowerCase() === 'content-type'))
            send['Content-Type'] = 'application/json';
        for (const name of Object.keys(send)) if (send[name] === undefined) delete send[name];
        if (payload) send['Content-Length'] = payload.length;
        const start = performance.now();
        return new Promise((resolve, reject) => {
            const req = http.request({
                host: this.host,
                port,
                method,
                path,
                headers: send,
                agent: fresh ? false : this.agent,
                signal,
            });
            const timer = setTimeout(
                () => req.destroy(new Error(`${method} ${path} was not answered within ${timeoutMs} ms`)),
                timeoutMs,
            );
            req.on('error', (e) => {
                clearTimeout(timer);
                reject(e);
            });
            req.on('response', (res) => {
                const chunks = [];
                res.on('data', (chunk) => chunks.push(chunk));
                res.on('error', (e) => {
                    clearTimeout(timer);
                    reject(e);
                });
                res.on('end', () => {
                    clearTimeout(timer);
                    const result = {
                        status: res.statusCode,
                        headers: res.headers,
                        text: Buffer.concat(chunks).toString(),
                        ms: performance.now() - start,
                    };
                    try {
                        result.json = JSON.parse(result.text);
                    } catch {
                        /* stays undefined */
                    }
                    resolve(result);
                });
            });
            req.end(payload);
        });
    }

    get(path, options) {
        return this.request('GET', path, options);
    }
    post(path, body, options) {
        return this.request('POST', path, { body, ...options });
    }
    put(path, body, options) {
        return this.request('PUT', path, { body, ...options });
    }
    delete(path, options) {
        return this.request('DELETE', path, options);
    }

    /* Sends the bytes as they are on a new connection and gives everything that comes back until the server
     * closes, or until a whole response with Content-Length is there. */
    raw(bytes, { timeoutMs = 10000 } = {}) {
        return new Promise((resolve, reject) => {
            const socket = net.connect(this.port, this.host);
            let text = '';
            const timer = setTimeout(() => {
                socket.destroy();
                reject(new Error(`no complete response within ${timeoutMs} ms, but: ${text}`));
            }, timeoutMs);
            const finish = () => {
                clearTimeout(timer);
                socket.destroy();
                resolve(parseRaw(text));
            };
            socket.on('error', (e) => {
                if (text) return finish();
                clearTimeout(timer);
                reject(e);
            });
            socket.on('data', (chunk) => {
                text += chunk.toString('latin1');
                if (isWhole(text)) finish();
            });
            socket.on('close', finish);
            socket.write(bytes);
        });
    }

    #check(method, path, result) {
        const where = `${method} ${path} -> ${result.status} ${result.text.slice(0, 400)}`;
        assert.ok(result.headers['x-request-id'], `no X-Request-Id: ${where}`);
        if (!openapi) return;
        const faults = openapi.check(method, path, result.status, result.headers, result.text);
        assert.deepEqual(faults, [], `does not fit web/openapi.json: ${where}`);
    }
}

function isWhole(text) {
    const head = text.indexOf('\r\n\r\n');
    const length = head < 0 ? null : /^content-length: (\d+)\r?$/im.exec(text.slice(0, head + 2));
    return length !== null && text.length >= head + 4 + Number(length[1]);
}

function parseRaw(text) {
    const head = text.indexOf('\r\n\r\n');
    if (head < 0) return { status: 0, headers: {}, text };
    const [line, ...lines] = text.slice(0, head).split('\r\n');
    const headers = Object.fromEntries(
        lines.map((l) => [l.slice(0, l.indexOf(':')).toLowerCase(), l.slice(l.indexOf(':') + 1).trim()]),
    );
    const result = {
        status: Number(line.split(' ')[1]),
        headers,
        text: Buffer.from(text.slice(head + 4), 'latin1').toString(),
    };
    try {
        result.json = JSON.parse(result.text);
    } catch {
        /* stays undefined */
    }
    return result;
}

module.exports = { Client, openapi };
