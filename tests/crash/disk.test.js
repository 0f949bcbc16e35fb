'use strict';
/* What disk.js makes of a journal: told by hand, cut often. */
const { beforeEach, afterEach, test } = require('node:test');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { Disk, putBack } = require('./disk');
const { randomFrom } = require('./load');

let dir;
beforeEach(() => {
    dir = fs.mkdtempSync(path.join(os.tmpdir(), 'cp-disk-'));
});
afterEach(() => fs.rmSync(dir, { recursive: true }));

const at = (name) => path.join(dir, name);
function entry(kind, where, { inode = 1n, offset = 0, data = '' } = {}) {
    const bytes = Buffer.from(data);
    const head = Buffer.alloc(32);
    head.write(kind, 0);
    head.writeUInt32LE(Buffer.byteLength(where), 4);
    head.writeBigUInt64LE(inode, 8);
    head.writeBigUInt64LE(BigInt(offset), 16);
    head.writeBigUInt64LE(BigInt(bytes.length), 24);
    return Buffer.concat([head, Buffer.from(where), bytes]);
}
const write = (name, offset, data, more) => entry('w', at(name), { offset, data, ...more });
const sync = (name, more) => [entry('S', at(name), more), entry('s', at(name), more)];
const syncDir = () => [entry('N', dir), entry('n', dir)];

/* All that 200 seeds find of a file, each once; "-" where it is not there. */
function found(entries, name) {
    const states = new Set();
    for (let seed = 0; seed < 200; seed++) {
        const disk = new Disk(dir);
        disk.read(Buffer.concat(entries.flat()));
        states.add(disk.cut(randomFrom(seed)).get(name)?.toString() ?? '-');
    }
    return [...states].sort();
}
const create = (name, inode = 1n) => entry('c', at(name), { inode });

test('what was synced, with its name, is there', () => {
    assert.deepEqual(found([create('data.mdb'), write('data.mdb', 0, 'abc'), sync('data.mdb'), syncDir()], 'data.mdb'), ['abc']);
});

test('a name that was not synced may be missing', () => {
    assert.deepEqual(found([create('data.mdb'), write('data.mdb', 0, 'abc'), sync('data.mdb')], 'data.mdb'), ['-', 'abc']);
});

test('a sync that was begun and did not come back promises nothing', () => {
    const begun = [entry('S', at('data.mdb'))];
    const entries = [create('data.mdb'), syncDir(), write('data.mdb', 0, 'abc'), sync('data.mdb'), write('data.mdb', 0, 'xyz')];
    assert.deepEqual(found([...entries, begun], 'data.mdb'), ['abc', 'xyz']);
});

test('a write during a sync is not covered by it', () => {
    const entries = [create('data.mdb'), syncDir(), write('data.mdb', 0, 'abc'), entry('S', at('data.mdb'))];
    entries.push(write('data.mdb', 3, 'def'), entry('s', at('data.mdb')));
    assert.deepEqual(found(entries, 'data.mdb'), ['abc', 'abcdef']);
});

test('writes of several sectors tear, later ones may be there without earlier ones', () => {
    const old = 'o'.repeat(1536);
    const entries = [create('data.mdb'), syncDir(), write('data.mdb', 0, old), sync('data.mdb')];
    entries.push(write('data.mdb', 0, 'a'.repeat(1024)), write('data.mdb', 1024, 'b'.repeat(512)));
    const states = new Set(found(entries, 'data.mdb').map((s) => s[0] + s[512] + s[1024]));
    for (const state of ['ooo', 'aao', 'aab', 'oob', 'aoo', 'oao']) assert.ok(states.has(state), state);
    assert.equal(states.size, 8);
});

test('a write through O_DSYNC is there when it has come back, and syncs nothing else', () => {
    const old = 'o'.repeat(1024);
    const entries = [create('data.mdb'), syncDir(), write('data.mdb', 0, old), sync('data.mdb'), write('data.mdb', 512, 'w')];
    entries.push(entry('D', at('data.mdb'), { offset: 0, data: 'd' }));
    const letters = (list) => list.map((s) => s[0] + s[512]).sort();
    assert.deepEqual(letters(found(entries, 'data.mdb')), ['do', 'dw', 'oo', 'ow']);
    entries.push(entry('d', at('data.mdb')));
    assert.deepEqual(letters(found(entries, 'data.mdb')), ['do', 'dw']);
});

test('a file that is put in the place of another: the old one or the new one, whole when it was synced', () => {
    fs.writeFileSync(at('provider.key'), 'old');
    const fresh = { inode: 7n };
    const replace = (...syncs) => [
        create('provider.key.new', 7n),
        write('provider.key.new', 0, 'fresh', fresh),
        ...syncs,
        entry('r', at('provider.key'), { data: at('provider.key.new') }),
    ];
    assert.deepEqual(found(replace(sync('provider.key.new', fresh)), 'provider.key'), ['fresh', 'old']);
    assert.deepEqual(found([...replace(sync('provider.key.new', fresh)), syncDir()], 'provider.key'), ['fresh']);
    assert.deepEqual(found(replace(), 'provider.key'), ['', 'fresh', 'old']);
});

test('a file that was removed may be back', () => {
    fs.writeFileSync(at('provider.key'), 'old');
    assert.deepEqual(found([entry('u', at('provider.key'))], 'provider.key'), ['-', 'old']);
    assert.deepEqual(found([entry('u', at('provider.key')), syncDir()], 'provider.key'), ['-']);
});

test('a file that was written past the journal is noticed', () => {
    fs.writeFileSync(at('data.mdb'), 'base');
    const inode = fs.statSync(at('data.mdb'), { bigint: true }).ino;
    const disk = new Disk(dir);
    disk.read(Buffer.concat([write('data.mdb', 0, 'BA', { inode }), write('data.mdb', 2, 'SE', { inode })]));
    assert.ok(disk.explains('data.mdb', Buffer.from('BASE')));
    assert.ok(disk.explains('data.mdb', Buffer.from('BAse')), 'the last one was not done');
    assert.ok(!disk.explains('data.mdb', Buffer.from('base')));
    assert.ok(!disk.explains('data.mdb', Buffer.from('BASEX')));
    assert.ok(!disk.explains('provider.key', Buffer.from('')));
});

test('other directories and an entry that was cut off do not count', () => {
    const elsewhere = [entry('c', '/elsewhere/data.mdb'), entry('w', '/elsewhere/data.mdb', { data: 'abc' })];
    const torn = write('data.mdb', 0, 'xyz').subarray(0, -1);
    assert.deepEqual(found([...elsewhere, create('data.mdb'), syncDir(), torn], 'data.mdb'), ['']);
});

test('what is found takes the place of what was there', () => {
    fs.writeFileSync(at('provider.key'), 'gone');
    fs.writeFileSync(at('data.mdb'), 'stays');
    fs.writeFileSync(at('coordinator.lock'), '1');
    putBack(dir, new Map([['data.mdb', Buffer.from('cut')]]));
    assert.deepEqual(fs.readdirSync(dir).sort(), ['coordinator.lock', 'data.mdb']);
    assert.equal(fs.readFileSync(at('data.mdb'), 'utf8'), 'cut');
});
