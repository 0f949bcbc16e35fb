'use strict';
/*
 * A whole carpool under Apache and mod_fcgid, installed as on shared hosting: both programs, carpool.conf and
 * an .htaccess in one directory of the site, nothing from the environment, the coordinator started by the
 * first worker. The rest (fake provider, requests, findings at the end) is the integration harness's.
 */
const { execFileSync, spawn } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { Stack, BUILD, PROVIDER_KEY, cleanEnvironment, until } = require('../integration/harness');

const MODULES = '/usr/lib/apache2/modules';
const NOBODY = 65534;

/* As root, Apache and everything below it runs as nobody: the socket directory of mod_fcgid is its own then. */
const asNobody = process.getuid() === 0 ? { uid: NOBODY, gid: NOBODY } : {};

const HTACCESS = `Options +ExecCGI
AddHandler fcgid-script .fcgi
RewriteEngine On
RewriteRule ^(health|stats|metrics|v1/(settings|analytics|chat(/(?!completions$).*)?|requests/.*))$ manage.fcgi [L]
RewriteRule !\\.fcgi$ carpool.fcgi [L]
SetEnvIf Authorization "(.*)" HTTP_AUTHORIZATION=$1
`;

/* The only directive of mod_fcgid's that hosts allow here names the configuration; one pool serves everything. */
const wrapperHtaccess = (s) => `Options +ExecCGI
AddHandler fcgid-script .fcgi
FcgidWrapper "${s.site}/carpool.fcgi --config=${s.dir}/private/my.conf" .fcgi
RewriteEngine On
RewriteRule !\\.fcgi$ carpool.fcgi [L]
`;

/* What an .htaccess cannot say. A site's processes are its own, and come quicker than by default. */
const serverConf = (s, mpm) => `ServerRoot "${s.dir}"
ServerName localhost
Listen 127.0.0.1:${s.port}
PidFile "${s.dir}/apache.pid"
DefaultRuntimeDir "${s.dir}"
ErrorLog "${s.dir}/apache.log"
LogLevel warn fcgid:info
LoadModule mpm_${mpm}_module ${MODULES}/mod_mpm_${mpm}.so
LoadModule authz_core_module ${MODULES}/mod_authz_core.so
LoadModule mime_module ${MODULES}/mod_mime.so
LoadModule rewrite_module ${MODULES}/mod_rewrite.so
LoadModule setenvif_module ${MODULES}/mod_setenvif.so
LoadModule fcgid_module ${MODULES}/mod_fcgid.so
TypesConfig /dev/null
DocumentRoot "${s.site}"
<Directory "${s.site}">
    AllowOverride All
    Require all granted
</Directory>
FcgidIPCDir "${s.dir}/ipc"
FcgidProcessTableFile "${s.dir}/fcgid_shm"
FcgidMaxRequestLen 2000000
FcgidIOTimeout 60
FcgidSpawnScoreUpLimit 200
FcgidMaxProcesses 60
FcgidMaxProcessesPerClass 50
${s.options.apache ?? ''}
`;

/* Options beside Stack's: mpm: 'event' (default) or 'prefork'; conf: lines of carpool.conf; apache: lines of Apache's
 * configuration; wrapper: the configuration does not lie beside the program, FcgidWrapper in .htaccess names it. */
class ApacheStack extends Stack {
    async launch() {
        this.site ??= path.join(this.dir, 'site');
        if (!fs.existsSync(this.site)) this.#install();
        fs.writeFileSync(path.join(this.dir, 'apache.conf'), serverConf(this, this.options.mpm ?? 'event'));
        if (asNobody.uid) execFileSync('chown', ['-R', `${NOBODY}:${NOBODY}`, this.dir]);
        const out = fs.openSync(path.join(this.dir, 'front.log'), 'a');
        this.printedFrom = fs.fstatSync(out).size;
        this.front = spawn('apache2', ['-f', path.join(this.dir, 'apache.conf'), '-D', 'FOREGROUND'], {
            cwd: this.dir,
            env: cleanEnvironment(),
            stdio: ['ignore', out, out],
            ...asNobody,
        });
        fs.closeSync(out);
        this.frontExit = new Promise((resolve) => {
            this.front.on('exit', (code, signal) => resolve({ code, signal, at: performance.now() }));
            this.front.on('error', (e) => resolve({ code: null, signal: e.message }));
        });
        await until('Apache has started', () => fs.existsSync(path.join(this.dir, 'apache.pid')));
    }

    #install() {
        fs.mkdirSync(path.join(this.dir, 'ipc'));
        fs.mkdirSync(this.site);
        for (const name of ['carpool.fcgi', 'carpoold'])
            fs.copyFileSync(path.join(BUILD, name), path.join(this.site, name));
        const manage = path.join(this.site, 'manage.fcgi');
        fs.writeFileSync(manage, '#!/bin/sh\nexec "${0%/*}/carpool.fcgi" --pool=manage\n');
        fs.chmodSync(manage, 0o755);
        fs.writeFileSync(path.join(this.site, '.htaccess'), this.options.wrapper ? wrapperHtaccess(this) : HTACCESS);
        this.conf = this.options.wrapper ? 'private/my.conf' : 'site/carpool.conf';
        fs.mkdirSync(path.join(this.dir, 'private'));
        const provider = this.fake
            ? `kind = openai\nbase_url = ${this.fake.baseUrl('openai')}\nmodel = fake-model\napi_key = ${PROVIDER_KEY}\n`
            : 'kind = mock\n';
        fs.writeFileSync(
            path.join(this.dir, this.conf),
            `[storage]\ndir = ${this.storage}\n[provider]\n${provider}[cache]\nmode = off\n${this.options.conf ?? ''}`,
        );
    }

    /* Everything that runs from the site's directory, and Apache itself. */
    processes() {
        return fs
            .readdirSync('/proc')
            .filter((name) => /^\d+$/.test(name))
            .map(Number)
            .map((pid) => {
                try {
                    const exe = fs.readlinkSync(`/proc/${pid}/exe`);
                    const stat = fs.readFileSync(`/proc/${pid}/stat`, 'latin1');
                    const [state, ppid] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
                    const args = fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').filter(Boolean);
                    const ours = exe.startsWith(`${this.site}/`) || args.includes(`${this.dir}/apache.conf`);
                    const threads = fs.readdirSync(`/proc/${pid}/task`).length;
                    return ours && state !== 'Z' ? { pid, ppid: Number(ppid), name: path.basename(exe), args, threads } : null;
                } catch {
                    return null; /* it ended meanwhile */
                }
            })
            .filter(Boolean);
    }
    fcgi() {
        return this.processes().filter((p) => p.name === 'carpool.fcgi');
    }

    /* The key may stand where it was given, and nowhere else. */
    filesWith(text) {
        return super.filesWith(text).filter((name) => name !== this.conf);
    }

    logs() {
        const apache = path.join(this.dir, 'apache.log');
        return `${super.logs()}\n--- apache.log\n${fs.existsSync(apache) ? fs.readFileSync(apache, 'utf8').slice(-6000) : ''}`;
    }
}

module.exports = { ApacheStack };
