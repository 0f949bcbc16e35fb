'use strict';
/*
 * A second opinion on web/openapi.json: `prism proxy --errors` between the client of the integration tests and
 * lighttpd, one a carpool, when PRISM=1. The client (http_client.js) sends what prism would refuse directly, and the
 * server must then refuse it too; a response that prism finds to be none of the document's fails the test.
 */
const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');

const ROOT = path.join(__dirname, '..', '..');
const PROGRAM = path.join(ROOT, 'node_modules', '@stoplight', 'prism-cli', 'dist', 'index.js');
const DOCUMENT = path.join(ROOT, 'web', 'openapi.json');
const ERRORS = 'https://stoplight.io/prism/errors#';

const running = new Set();
const counts = { passed: 0, refused: 0 };
process.on('exit', () => {
    for (const child of running) child.kill('SIGKILL');
    if (process.env.PRISM_COUNTS) fs.appendFileSync(process.env.PRISM_COUNTS, `${counts.passed} ${counts.refused}\n`);
});

const freePort = () =>
    new Promise((resolve, reject) => {
        const server = net.createServer();
        server.on('error', reject);
        server.listen(0, '127.0.0.1', () => {
            const { port } = server.address();
            server.close(() => resolve(port));
        });
    });

class Prism {
    /* In front of the server at upstreamPort of this machine. */
    static async start(upstreamPort) {
        const prism = new Prism();
        prism.port = await freePort();
        const words = ['proxy', '--errors', '--cors=false', '--multiprocess=false', '-h', '127.0.0.1', '-p', prism.port];
        prism.child = spawn(process.execPath, [PROGRAM, ...words, DOCUMENT, `http://127.0.0.1:${upstreamPort}`], {
            cwd: ROOT,
            stdio: ['ignore', 'pipe', 'pipe'],
        });
        running.add(prism.child);
        prism.gone = new Promise((resolve) => prism.child.on('exit', resolve));
        await new Promise((resolve, reject) => {
            let said = '';
            const hear = (chunk) => {
                said = (said + chunk).slice(-4000);
                if (said.includes('is listening')) resolve();
            };
            prism.child.stdout.on('data', hear);
            prism.child.stderr.on('data', hear);
            prism.child.on('exit', () => reject(new Error(`prism did not start: ${said}`)));
            prism.child.on('error', reject);
        });
        return prism;
    }

    async stop() {
        this.child.kill();
        await this.gone;
        running.delete(this.child);
    }
}

/* What prism says by itself of a request or response: {kind, text}; null: it passed both on. */
function verdictOf(result) {
    const { json } = result;
    if (json?.type?.startsWith?.(ERRORS)) return { kind: json.type.slice(ERRORS.length), text: result.text };
    return null;
}

/*
 * send(port) sends a request to that port and gives the result. Through prism first; what it does not even pass on is
 * sent to the server itself, which must find it wrong as well.
 */
async function throughPrism(prismPort, send, where) {
    const result = await send(prismPort);
    const verdict = verdictOf(result);
    if (!verdict) {
        counts.passed++;
        return result;
    }
    assert.notEqual(verdict.kind, 'VIOLATIONS', `prism on the response to ${where}: ${verdict.text}`);
    assert.notEqual(verdict.kind, 'UPSTREAM_NOT_IMPLEMENTED', `prism: ${verdict.text}`);
    const direct = await send(null);
    assert.ok(direct.status >= 400, `prism refuses ${where}: ${verdict.text}; the server answers ${direct.status}`);
    counts.refused++;
    return direct;
}

module.exports = { Prism, throughPrism };
