'use strict';
/* A copy of what lighttpd serves and is configured by, for tests that put files there which nobody else should meet. */
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { ROOT } = require('../integration/harness');

/* {dir, web, command, remove()}: command is what a Stack runs instead of lighttpd. */
function copySite() {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'cp-site-'));
    for (const name of ['lighttpd.conf', 'etc', 'web'])
        fs.cpSync(path.join(ROOT, name), path.join(dir, name), { recursive: true, filter: (file) => !file.includes('node_modules') });
    return {
        dir,
        web: path.join(dir, 'web'),
        command: ['sh', '-c', `cd '${dir}' && exec lighttpd -D -f lighttpd.conf`],
        remove: () => fs.rmSync(dir, { recursive: true, force: true }),
    };
}

module.exports = { copySite };
