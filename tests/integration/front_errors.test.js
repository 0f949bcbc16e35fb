'use strict';
/* What lighttpd refuses by itself is JSON like everything else. */
const assert = require('node:assert/strict');
const { useStack } = require('./harness');

const s = useStack();

for (const target of ['127.0.0.1:80', '/health']) {
    s.test(`CONNECT ${target}`, async () => {
        const res = await s.raw(`CONNECT ${target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n`);
        assert.ok([400, 405, 501].includes(res.status), `${res.status} ${res.text}`);
        assert.equal(res.json?.success, false, `JSON, not ${res.headers['content-type']}: ${res.text.slice(0, 120)}`);
    });
}
