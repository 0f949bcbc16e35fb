'use strict';
/* What answers look like wherever they come from: the native error shape, ids, times. */
const assert = require('node:assert/strict');

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const RFC3339_MS = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

/* A native error: its status, code and field, and the shape they come in. */
function assertError(res, status, { code, field, type } = {}) {
    const where = `${res.status} ${res.text.slice(0, 300)}`;
    assert.equal(res.status, status, where);
    assert.match(res.headers['content-type'] ?? '', /^application\/json/, where);
    assert.equal(res.json?.success, false, where);
    assert.ok('request_id' in res.json, where);
    assert.match(res.json.timestamp, RFC3339_MS, where);
    const { error } = res.json;
    assert.ok(error.message?.length > 10, `a sentence a person can act on: ${where}`);
    assert.match(error.error_type ?? '', /^[a-z_]+$/, where);
    assert.match(error.error_code ?? '', /^[A-Z0-9_]+$/, where);
    if (code) assert.equal(error.error_code, code, where);
    if (field) assert.equal(error.field, field, where);
    if (type) assert.equal(error.error_type, type, where);
}

module.exports = { assertError, UUID, RFC3339_MS };
