'use strict';
/*
 * A carpool as its users install it, in a temporary directory on a free port: etc/install/shared-hosting run as an
 * ordinary user from a copy of what it needs, then Apache with mod_fcgid and nothing but .htaccess (SharedHost); or
 * make install's tree behind Apache's mod_proxy_fcgi, its mod_fcgid, or lighttpd, with workers on the sockets that
 * systemd would hand them (Installed). The rest (fake provider, requests, findings at the end) is the harness's.
 */
const assert = require('node:assert/strict');
const { execFileSync, spawn, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { Stack, ROOT, BUILD, PROVIDER_KEY, STRETCH, cleanEnvironment, until, openapi } = require('../integration/harness');

const MODULES = '/usr/lib/apache2/modules';
const NOBODY = 65534;
/* As root, everything runs as nobody. */
const asNobody = process.getuid() === 0 ? { uid: NOBODY, gid: NOBODY } : {};

/* The programs, scripts and pages that make shared-hosting and make install work from. */
function copyCheckout(to) {
    for (const name of ['etc', 'web', 'lighttpd.conf', 'LICENSE']) fs.cpSync(path.join(ROOT, name), path.join(to, name), { recursive: true });
    fs.mkdirSync(path.join(to, 'build'));
    for (const name of ['carpool.fcgi', 'carpoold', 'carpoolctl']) fs.copyFileSync(path.join(BUILD, name), path.join(to, 'build', name));
}

const apacheConf = (s, modules, rest) => `ServerRoot "${s.dir}"
ServerName localhost
Listen 127.0.0.1:${s.port}
PidFile "${s.dir}/apache.pid"
DefaultRuntimeDir "${s.dir}"
ErrorLog "${s.dir}/apache.log"
LogLevel warn
${['mpm_event', 'authz_core', 'mime', 'dir', 'alias', 'rewrite', 'setenvif', 'headers', ...modules]
    .map((name) => `LoadModule ${name}_module ${MODULES}/mod_${name}.so`)
    .join('\n')}
TypesConfig /etc/mime.types
${rest}
`;

class Site extends Stack {
    /* base: what comes before every path, for /health too. */
    url(name) {
        return `${this.options.base ?? ''}${name}`;
    }

    /* A request to an endpoint, checked against openapi.json without what comes before its path. */
    async ask(method, name, options = {}) {
        const res = await this.request(method, this.url(name), { ...options, check: false });
        if (options.check !== false)
            assert.deepEqual(openapi.check(method, name, res.status, res.headers, res.text), [], `${method} ${name} -> ${res.status} ${res.text.slice(0, 300)}`);
        return res;
    }
    query(prompt, more = {}, options = {}) {
        return this.ask('POST', '/v1/query', { body: { username: 'tester', prompt, ...more }, ...options });
    }

    /* Everything that runs from this directory. */
    processes() {
        return fs
            .readdirSync('/proc')
            .filter((name) => /^\d+$/.test(name))
            .map(Number)
            .map((pid) => {
                try {
                    const stat = fs.readFileSync(`/proc/${pid}/stat`, 'latin1');
                    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
                    const args = fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').filter(Boolean);
                    const name = stat.slice(stat.indexOf('(') + 1, stat.lastIndexOf(')'));
                    const ours = args.some((arg) => arg.includes(`${this.dir}/`));
                    return ours && fields[0] !== 'Z' ? { pid, ppid: Number(fields[1]), name, args } : null;
                } catch {
                    return null; /* it ended meanwhile */
                }
            })
            .filter(Boolean);
    }
    named(name) {
        return this.processes().filter((p) => p.name === name);
    }

    ctlEnvironment() {
        return { ...cleanEnvironment(), ...(this.options.front === 'fcgid' && { CARPOOL_STORAGE_DIR: this.storage, CARPOOL_LOG_DIR: `${this.storage}/logs` }) };
    }
    /* carpoolctl of this installation; its standard output. */
    ctl(...args) {
        return execFileSync(this.programs.ctl, [`--config=${this.confFile}`, ...args], {
            encoding: 'utf8',
            env: this.ctlEnvironment(),
            stdio: ['ignore', 'pipe', 'pipe'],
            ...asNobody,
        }).trim();
    }

    /* What carpoolctl doctor says, all checks. */
    async examine() {
        const args = [`--config=${this.confFile}`, 'doctor', '--json', `http://127.0.0.1:${this.port}${this.options.base}`];
        const child = spawn(this.programs.ctl, args, { env: this.ctlEnvironment(), stdio: ['ignore', 'pipe', 'inherit'], ...asNobody });
        let out = '';
        for await (const bytes of child.stdout) out += bytes;
        return JSON.parse(out).checks;
    }

    configure() {
        const provider = this.fake
            ? `kind = openai\nbase_url = ${this.fake.baseUrl('openai')}\nmodel = fake-model\napi_key = ${PROVIDER_KEY}\n`
            : 'kind = mock\n';
        const { idleExit } = this.options;
        if (idleExit) fs.writeFileSync(this.confFile, fs.readFileSync(this.confFile, 'utf8').replace(/^idle_exit_s = .*/m, `idle_exit_s = ${idleExit}`));
        fs.appendFileSync(this.confFile, `\n[provider]\n${provider}[cache]\nmode = off\n${this.options.conf ?? ''}`);
    }

    startFront(program, args) {
        const out = fs.openSync(path.join(this.dir, 'front.log'), 'a');
        this.printedFrom = fs.fstatSync(out).size;
        this.front = spawn(program, args, { cwd: this.dir, env: cleanEnvironment(), stdio: ['ignore', out, out], ...asNobody });
        fs.closeSync(out);
        this.frontExit = new Promise((resolve) => {
            this.front.on('exit', (code, signal) => resolve({ code, signal }));
            this.front.on('error', (e) => resolve({ code: null, signal: e.message }));
        });
    }
    async startApache(modules, rest) {
        fs.writeFileSync(path.join(this.dir, 'apache.conf'), apacheConf(this, modules, rest));
        fs.rmSync(path.join(this.dir, 'apache.pid'), { force: true });
        if (asNobody.uid) execFileSync('chown', ['-R', `${NOBODY}:${NOBODY}`, this.dir]);
        this.startFront('apache2', ['-f', path.join(this.dir, 'apache.conf'), '-D', 'FOREGROUND']);
        await until('Apache has started', () => {
            if (this.front.exitCode !== null) throw Object.assign(new Error(this.logs()), { final: true });
            return fs.existsSync(path.join(this.dir, 'apache.pid'));
        });
    }

    /* The provider's key may stand where it was given, and nowhere else. */
    filesWith(text) {
        return super.filesWith(text).filter((name) => path.join(this.dir, name) !== this.confFile);
    }
    logs() {
        const apache = path.join(this.dir, 'apache.log');
        return `${super.logs()}\n--- apache.log\n${fs.existsSync(apache) ? fs.readFileSync(apache, 'utf8').slice(-4000) : ''}`;
    }
}

/* Options beside Stack's: apache: more lines of the server's configuration; processes: as of make shared-hosting;
 * limits: a shell's ulimit options that every program runs under; idleExit: seconds. */
class SharedHost extends Site {
    constructor(options = {}) {
        super({ base: '/llm', ...options });
        this.docs = path.join(this.dir, 'public_html');
        this.site = path.join(this.docs, 'llm');
        this.data = path.join(this.dir, 'carpool-data');
        this.storage = path.join(this.data, 'var');
        this.confFile = path.join(this.data, 'carpool.conf');
        this.programs = { ctl: path.join(this.data, 'bin/carpoolctl') };
    }

    /* As their user types it; again, it is an update. */
    lay(...more) {
        const script = path.join(this.dir, 'checkout/etc/install/shared-hosting');
        const options = [`--dest=${this.site}`, `--data=${this.data}`, ...(this.options.processes ? [`--processes=${this.options.processes}`] : []), ...more];
        const said = spawnSync(script, options, { encoding: 'utf8', env: { ...cleanEnvironment(), BUILD: path.join(this.dir, 'checkout/build'), HOME: this.dir }, ...asNobody });
        assert.equal(said.status, 0, said.stderr);
        this.warned = said.stderr;
        return said.stdout;
    }

    async launch() {
        if (!fs.existsSync(this.site)) {
            copyCheckout(path.join(this.dir, 'checkout'));
            fs.mkdirSync(path.join(this.dir, 'ipc'));
            if (asNobody.uid) execFileSync('chown', ['-R', `${NOBODY}:${NOBODY}`, this.dir]);
            this.lay();
            this.configure();
            if (this.options.limits)
                for (const name of ['prompt.fcgi', 'manage.fcgi']) {
                    const file = path.join(this.site, name);
                    fs.writeFileSync(file, fs.readFileSync(file, 'utf8').replace('\nexec', `\nulimit ${this.options.limits}\nexec`));
                }
        }
        await this.startApache(
            ['fcgid'],
            `DocumentRoot "${this.docs}"
<Directory "${this.docs}">
    AllowOverride FileInfo Options=ExecCGI,Indexes,MultiViews Indexes AuthConfig
    Require all granted
</Directory>
FcgidIPCDir "${this.dir}/ipc"
FcgidProcessTableFile "${this.dir}/fcgid_shm"
${this.options.apache ?? ''}`,
        );
    }
}

/* The tree of make install under a prefix of its own. front: 'proxy' (mod_proxy_fcgi), 'fcgid' (mod_fcgid of the
 * whole server) or 'lighttpd'. */
class Installed extends Site {
    constructor(options = {}) {
        super({ base: '/carpool', ...options });
        this.tree = path.join(this.dir, 'tree');
        this.prefix = `${this.tree}/opt/carpool`;
        /* mod_fcgid's workers are another user, with a store of their own. */
        this.storage = `${this.prefix}/var/lib/carpool${options.front === 'fcgid' ? '-fcgid' : ''}`;
        this.confFile = `${this.prefix}/etc/carpool/carpool.conf`;
        this.programs = { ctl: `${this.prefix}/bin/carpoolctl` };
        this.sockets = path.join(this.dir, 'run');
    }

    /* DESTDIR is the tree; what stands in files is made true for it afterwards, as a chroot would. The umask is that of a
     * careful root. */
    make(target = 'install') {
        const env = { ...cleanEnvironment() };
        const args = ['-s', '-C', ROOT, target, `BUILD=${path.relative(ROOT, BUILD)}`, 'PREFIX=/opt/carpool', `DESTDIR=${this.tree}`];
        const said = spawnSync('sh', ['-c', 'umask 077; exec make "$@"', 'sh', ...args], { encoding: 'utf8', env });
        assert.equal(said.status, 0, said.stdout + said.stderr);
        return said.stdout;
    }
    #lay() {
        this.make();
        for (const name of ['etc', 'lib', 'share/carpool'])
            for (const entry of fs.readdirSync(`${this.prefix}/${name}`, { recursive: true, withFileTypes: true })) {
                const file = path.join(entry.parentPath ?? entry.path, entry.name);
                if (!entry.isFile() || !/\.(conf|service|socket)$/.test(file)) continue;
                const text = fs.readFileSync(file, 'utf8');
                fs.writeFileSync(file, text.replaceAll('/opt/carpool', this.prefix).replaceAll('/run/carpool', this.sockets));
            }
        fs.mkdirSync(this.sockets);
        fs.mkdirSync(`${this.prefix}/var/log/carpool`, { recursive: true });
        fs.mkdirSync(this.storage, { recursive: true });
        this.configure();
        execFileSync('chmod', ['-R', 'a+rX', this.tree]);
        if (asNobody.uid) execFileSync('chown', ['-R', `${NOBODY}:${NOBODY}`, this.dir]);
    }

    /* What systemd does with the units of sockets. */
    #startPools() {
        const out = fs.openSync(path.join(this.dir, 'pools.log'), 'a');
        this.pools = ['prompt', 'manage'].map((pool) =>
            spawn(`${this.prefix}/libexec/carpool/carpool.fcgi`, [`--pool=${pool}`, `--socket=${this.sockets}/${pool}.sock`], {
                cwd: '/',
                env: cleanEnvironment(),
                stdio: ['ignore', out, out],
                ...asNobody,
            }),
        );
        fs.closeSync(out);
    }

    async launch() {
        const { front = 'proxy' } = this.options;
        if (!fs.existsSync(this.tree)) this.#lay();
        if (front !== 'fcgid') {
            if (!this.pools) this.#startPools();
            await until('both pools listen', () => ['prompt', 'manage'].every((pool) => fs.existsSync(`${this.sockets}/${pool}.sock`)));
        }
        const site = path.join(this.dir, 'www');
        fs.mkdirSync(site, { recursive: true });
        if (front === 'lighttpd') {
            const file = path.join(this.dir, 'lighttpd.conf');
            fs.writeFileSync(
                file,
                `server.modules = ( "mod_indexfile", "mod_alias", "mod_staticfile" )
server.document-root = "${site}"
server.port = ${this.port}
server.bind = "127.0.0.1"
server.errorlog = "${this.dir}/lighttpd.log"
mimetype.assign = ( ".html" => "text/html", ".js" => "text/javascript", ".css" => "text/css", ".svg" => "image/svg+xml" )
include "${this.prefix}/etc/lighttpd/conf-available/50-carpool.conf"
`,
            );
            this.startFront('lighttpd', ['-D', '-f', file]);
            return;
        }
        const name = front === 'fcgid' ? 'carpool-fcgid.conf' : 'carpool.conf';
        await this.startApache(
            front === 'fcgid' ? ['fcgid'] : ['proxy', 'proxy_fcgi'],
            `DocumentRoot "${site}"
<Directory "${site}">
    Require all granted
</Directory>
${front === 'fcgid' ? `FcgidIPCDir "${this.dir}/ipc"\nFcgidProcessTableFile "${this.dir}/fcgid_shm"` : ''}
Include "${this.prefix}/etc/apache2/conf-available/${name}"
${this.options.apache ?? ''}`,
        );
    }

    async stop(options) {
        for (const pool of this.pools ?? []) pool.kill('SIGTERM');
        return super.stop(options);
    }
}

module.exports = { Site, SharedHost, Installed, copyCheckout, asNobody, until, STRETCH };
