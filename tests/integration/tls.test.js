'use strict';
/*
 * TLS to the provider: without a certificate that this machine trusts, or below version 1.2, nothing is sent, and the
 * error says why.
 */
const assert = require('node:assert/strict');
const fs = require('node:fs');
const https = require('node:https');
const os = require('node:os');
const path = require('node:path');
const { execFileSync } = require('node:child_process');
const { describe, before, after } = require('node:test');
const { useStack, until, assertError, PROVIDER_KEY } = require('./harness');

/* A server with a certificate of its own making for names; requests and handshakes that reach it are noted. */
class TlsServer {
    constructor(names, options = {}) {
        const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'cp-tls-'));
        const [key, cert] = ['key.pem', 'cert.pem'].map((name) => path.join(dir, name));
        execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2',
            '-subj', '/CN=carpool test', '-addext', `subjectAltName=${names}`, '-keyout', key, '-out', cert], { stdio: 'pipe' });
        this.requests = [];
        this.errors = [];
        this.connections = 0;
        this.server = https.createServer({ key: fs.readFileSync(key), cert: fs.readFileSync(cert), ...options }, (req, res) => {
            this.requests.push(req.headers.authorization);
            res.end('{}');
        });
        this.server.on('connection', () => this.connections++);
        this.server.on('tlsClientError', (e) => this.errors.push(e.code ?? e.message));
        fs.rmSync(dir, { recursive: true });
    }
    async start() {
        await new Promise((resolve) => this.server.listen(0, '127.0.0.1', resolve));
        this.url = `https://127.0.0.1:${this.server.address().port}/v1`;
    }
}

describe('a provider', () => {
    const s = useStack({
        provider: 'openai',
        env: { CARPOOL_BATCH_HIGH_WINDOW_MS: '1', CARPOOL_RETRY_ATTEMPTS: '0', CARPOOL_RETRY_BREAKER_FAILURES: '0' },
    });
    const servers = {
        'that nobody vouches for': [new TlsServer('IP:127.0.0.1'), /its certificate is not one that this machine trusts.*self-signed/],
        'that speaks TLS 1.1 only': [
            new TlsServer('IP:127.0.0.1', { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' }),
            /it speaks no TLS of version 1\.2 or later/,
        ],
    };
    before(() => Promise.all(Object.values(servers).map(([server]) => server.start())));
    after(() => Object.values(servers).forEach(([server]) => server.server.close()));

    for (const [what, [server, sentence]] of Object.entries(servers)) {
        s.test(`${what} gets nothing`, async () => {
            assert.equal((await s.put('/v1/settings', { base_url: server.url, api_key: PROVIDER_KEY })).status, 200);
            const res = await s.ask('Are you there?', { priority: 'HIGH' });
            assertError(res, 503, { code: 'PROVIDER_UNAVAILABLE' });
            assert.match(res.json.error.message, sentence);
            assert.match(res.json.error.message, /nothing was sent/);
            await until('/health says so', async () => {
                const { provider } = (await s.get('/health')).json.dependencies;
                return provider.status === 'down' && sentence.test(provider.reason);
            });
            assert.ok(server.connections > 0, 'it was asked');
            assert.deepEqual(server.requests, [], 'no request came through');
        });
    }

    s.test('by plain http where TLS is expected, too', async () => {
        const base_url = s.fake.baseUrl('openai').replace('http:', 'https:');
        assert.equal((await s.put('/v1/settings', { base_url, api_key: PROVIDER_KEY })).status, 200);
        const res = await s.ask('Are you there?', { priority: 'HIGH' });
        assertError(res, 503, { code: 'PROVIDER_UNAVAILABLE' });
        assert.match(res.json.error.message, /it speaks no TLS of version 1\.2 or later/);
        assert.deepEqual(s.fake.calls, []);
    });
});
