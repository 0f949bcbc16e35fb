'use strict';
/*
 * carpoolctl doctor through a real Apache with mod_fcgid: what an .htaccess that lacks a line looks like from outside, and the
 * body limit as mod_fcgid comes.
 */
const { test, before, after } = require('node:test');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { STRETCH } = require('../integration/harness');
const { ctl } = require('../integration/ctl');
const { ApacheStack } = require('./apache_stack');

let s;
let htaccess;
before(async () => {
    s = await ApacheStack.start({ mpm: 'event', apache: 'FcgidMaxRequestLen 131072' });
    htaccess = fs.readFileSync(path.join(s.site, '.htaccess'), 'utf8');
});
after(() => s?.stop());

/* What the doctor says of the web server while .htaccess is this one. */
async function examine(text) {
    fs.writeFileSync(path.join(s.site, '.htaccess'), text);
    const { json, err, out } = await ctl(s, ['doctor', '--json', `http://127.0.0.1:${s.port}`]);
    fs.writeFileSync(path.join(s.site, '.htaccess'), htaccess);
    assert.ok(json, err + out);
    const web = {};
    for (const c of json.checks) if (!web[c.check] || c.state !== 'ok') web[c.check] = c;
    return web;
}
const it = (name, body) =>
    test(name, { timeout: 60000 * STRETCH }, async (t) => {
        try {
            await body(t);
        } catch (e) {
            for (const line of s.logs().split('\n')) t.diagnostic(line);
            throw e;
        }
    });

it('an .htaccess that has it all, and the body limit of mod_fcgid', async () => {
    const web = await examine(htaccess);
    for (const name of ['web.handler', 'web.authorization', 'web.x_api_key', 'web.private'])
        assert.equal(web[name]?.state, 'ok', JSON.stringify(web[name]));
    assert.equal(web['web.body'].state, 'warn');
    assert.match(web['web.body'].message, /FcgidMaxRequestLen/);
});

it('Authorization is taken away where nobody hands it on', async () => {
    const web = await examine(htaccess.replace(/^SetEnvIf.*\n/m, ''));
    assert.equal(web['web.authorization'].state, 'fail');
    assert.match(web['web.authorization'].message, /SetEnvIf Authorization/);
    assert.equal(web['web.x_api_key'].state, 'ok');
});

it('a handler that is not active hands the program out', async () => {
    const web = await examine('RewriteEngine On\nRewriteRule ^health$ carpool.fcgi [L]\n');
    assert.match(web['web.handler'].message, /AddHandler fcgid-script/);
});

it('without ExecCGI, without rewriting, and with a line that is not allowed', async () => {
    assert.match((await examine(htaccess.replace('Options +ExecCGI\n', '')))['web.handler'].message, /ExecCGI/);
    assert.match((await examine(htaccess.replace('RewriteEngine On', '')))['web.handler'].message, /404/);
    assert.match((await examine(`Nonsense on\n${htaccess}`))['web.handler'].message, /error log/);
});
