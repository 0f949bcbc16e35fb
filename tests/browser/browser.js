'use strict';
/*
 * Chromium for the tests of pages: one browser a test file, one visitor (a profile of its own: no storage, no cache
 * from before) a test. Whatever a visitor's pages do wrong fails its test: an error or warning on the console, an
 * exception, a breach of the content security policy, a request to any other server, an accessibility violation.
 */
const assert = require('node:assert/strict');
const fs = require('node:fs');
const nodeTest = require('node:test');
const { AxeBuilder } = require('@axe-core/playwright');
const { chromium } = require('playwright-core');
const { Stack, STRETCH } = require('../integration/harness');

const WIDE = { width: 1440, height: 900 };
const PHONE = { width: 360, height: 740 };

function program() {
    const usual = ['chromium', 'chromium-browser', 'google-chrome'].flatMap((name) =>
        (process.env.PATH ?? '').split(':').map((dir) => `${dir}/${name}`),
    );
    const found = [process.env.CHROMIUM, ...usual].find((file) => file && fs.existsSync(file));
    assert.ok(found, 'there is no Chromium; "etc/setup check" installs it, or CHROMIUM says where it is');
    return found;
}

/* Chromium's sandbox refuses to run as root, and only then is it left out. */
function launch() {
    return chromium.launch({ executablePath: program(), chromiumSandbox: process.getuid() !== 0 });
}

class Visitor {
    constructor(context, origin) {
        this.context = context;
        this.origin = origin;
        this.faults = [];
        this.excused = [];
        this.requests = [];
        this.pages = [];
    }

    /* options: those of Playwright's newContext(); base: the path under which carpool is. */
    static async of(browser, stack, { base = '', ...options } = {}) {
        const context = await browser.newContext({
            viewport: WIDE,
            locale: 'en-GB',
            timezoneId: 'Europe/Berlin',
            reducedMotion: 'reduce',
            ...options,
        });
        context.setDefaultTimeout(8000 * STRETCH);
        const visitor = new Visitor(context, `http://127.0.0.1:${stack.port}`);
        visitor.base = base;
        await context.exposeBinding('carpoolTestViolation', (_, text) => visitor.faults.push(`policy: ${text}`));
        await context.addInitScript(() =>
            document.addEventListener('securitypolicyviolation', (e) =>
                window.carpoolTestViolation(`${e.violatedDirective} ${e.blockedURI} ${e.sourceFile}:${e.lineNumber}`),
            ),
        );
        context.on('page', (page) => visitor.#listen(page));
        return visitor;
    }

    #listen(page) {
        page.on('console', (message) => {
            if (['error', 'warning'].includes(message.type()))
                this.faults.push(`console ${message.type()}: ${message.text()} (${message.location().url})`);
        });
        page.on('pageerror', (e) => this.faults.push(`exception: ${e.stack}`));
        page.on('request', (request) => {
            const url = request.url();
            this.requests.push(request);
            if (!url.startsWith(`${this.origin}/`) && !/^(data|blob):/.test(url))
                this.faults.push(`a request to another server: ${url}`);
        });
    }

    /* A new tab at a path such as "/#settings". */
    async open(path = '/') {
        const page = await this.context.newPage();
        this.pages.push(page);
        await page.goto(this.origin + this.base + path);
        return page;
    }

    /* What the browser itself says on the console of an answer that the test brings about on purpose. */
    excuse(pattern) {
        this.excused.push(pattern);
    }

    check() {
        const faults = this.faults.filter((fault) => !this.excused.some((pattern) => pattern.test(fault)));
        assert.deepEqual(faults, [], 'what the pages did');
    }
}

/* No violation of any rule of axe (WCAG 2.0 to 2.2, best practice). exclude: selectors of other people's parts. */
async function assertAccessible(page, where, { exclude = [] } = {}) {
    let builder = new AxeBuilder({ page });
    for (const selector of exclude) builder = builder.exclude(selector);
    const { violations } = await builder.analyze();
    const told = violations.flatMap((v) =>
        v.nodes.map((n) => `${v.id}: ${n.target.join(' ')} ${n.failureSummary.replaceAll('\n', ' ')}`),
    );
    assert.deepEqual(told, [], `${where}: ${told.length} violations`);
}

/*
 * A carpool and a browser that live as long as the file. b.test(name, [options of the visitor,] body): body gets
 * (visitor, stack, t); afterwards the visitor's pages must have done nothing wrong.
 */
function useBrowser(stackOptions = {}) {
    const b = {
        stackOptions,
        test(name, options, body = options) {
            const visitorOptions = body === options ? {} : options;
            nodeTest.test(name, { timeout: 120000 * STRETCH }, async (t) => {
                const visitor = await Visitor.of(b.browser, b.stack, { base: b.stack.options.base, ...visitorOptions });
                try {
                    await body(visitor, b.stack, t);
                    visitor.check();
                } catch (e) {
                    for (const line of [...visitor.faults, ...b.stack.logs().split('\n')]) t.diagnostic(line);
                    for (const [i, page] of visitor.pages.entries()) await keepPicture(page, `${name} ${i}`, t);
                    throw e;
                } finally {
                    await visitor.context.close();
                }
            });
        },
    };
    nodeTest.before(async () => {
        b.stack = await Stack.start(stackOptions);
        b.browser = await launch();
        await stackOptions.seed?.(b.stack);
    });
    nodeTest.after(async () => {
        await b.browser?.close();
        await b.stack?.stop();
    });
    return b;
}

/* What a page looked like when its test failed: in the directory PICTURES, where that is set. */
async function keepPicture(page, name, t) {
    if (!process.env.PICTURES || page.isClosed()) return;
    const file = `${process.env.PICTURES}/${name.replaceAll(/[^A-Za-z0-9]+/g, '-')}.png`;
    await page.screenshot({ path: file }).then(
        () => t.diagnostic(`picture: ${file}`),
        () => {},
    );
}

module.exports = { useBrowser, assertAccessible, launch, Visitor, WIDE, PHONE };
