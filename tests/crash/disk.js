'use strict';
/*
 * A disk as it may be found after the power failed. It starts with what a directory holds, reads the journal that
 * powercut.c keeps of what was done there, and cut() gives one of the states that POSIX allows afterwards: what
 * was synced is there; of what was not, any sectors may be; names are in the directory as of its last fsync, or
 * some of the changes later.
 *
 * Looser than ext4 where POSIX is: a new file's name needs an fsync of its directory. Stricter than POSIX in what
 * common file systems and disks keep: changes of names get there in their order, a sector of 512 bytes is written
 * whole or not at all, and a file that was never synced has grown in the order in which it was written.
 */
const fs = require('node:fs');
const path = require('node:path');

const SECTOR = 512;
const HEADER = 32;

const isKept = (name) => name === 'data.mdb' || name.startsWith('provider.key');

function* readJournal(bytes) {
    let at = 0;
    while (at + HEADER <= bytes.length) {
        const pathBytes = bytes.readUInt32LE(at + 4);
        const dataBytes = Number(bytes.readBigUInt64LE(at + 24));
        const data = at + HEADER + pathBytes;
        if (data + dataBytes > bytes.length) return; /* killed while it was written, so it was not done */
        yield {
            kind: String.fromCharCode(bytes[at]),
            path: bytes.toString('utf8', at + HEADER, data),
            inode: bytes.readBigUInt64LE(at + 8),
            offset: Number(bytes.readBigUInt64LE(at + 16)),
            data: bytes.subarray(data, data + dataBytes),
        };
        at = data + dataBytes;
    }
}

/* A file: what is surely on the disk, and what has been written since, oldest first. */
class File {
    constructor(bytes) {
        this.everSynced = Boolean(bytes);
        this.bytes = bytes ?? Buffer.alloc(0);
        this.pending = []; /* {offset, data, sure} or {size, sure} */
        this.syncing = 0; /* so many of pending were there when the sync that runs began */
    }

    write(offset, data) {
        this.pending.push({ offset, data, sure: false });
    }
    truncate(size) {
        this.pending.push({ size, sure: false });
    }
    /* A write to a descriptor with O_DSYNC has come back; it syncs nothing but itself. */
    written() {
        const own = this.pending.findLast((op) => op.dsync);
        if (own) own.sure = true;
    }
    syncBegins() {
        this.syncing = this.pending.length;
    }
    synced() {
        for (const op of this.pending.splice(0, this.syncing)) this.bytes = applied(this.bytes, op);
        this.syncing = 0;
        this.everSynced = true;
    }

    /* What is there after a cut. Torn: per write none, all, or some of its sectors. */
    cut(random) {
        let bytes = Buffer.from(this.bytes);
        if (!this.everSynced) return this.pending.slice(0, random.between(0, this.pending.length)).reduce(applied, bytes);
        for (const op of this.pending) {
            const fate = op.sure ? 'all' : random.weighted(FATES);
            if (fate === 'all') bytes = applied(bytes, op);
            else if (fate === 'torn' && op.data) for (const part of sectors(op)) if (random() < 0.5) bytes = applied(bytes, part);
        }
        return bytes;
    }
}

const FATES = [
    [4, 'none'],
    [2, 'all'],
    [3, 'torn'],
];

function applied(bytes, { offset, data, size }) {
    if (data === undefined) {
        const cut = Buffer.alloc(size);
        bytes.copy(cut, 0, 0, Math.min(size, bytes.length));
        return cut;
    }
    const end = offset + data.length;
    if (end > bytes.length) bytes = Buffer.concat([bytes, Buffer.alloc(end - bytes.length)]);
    data.copy(bytes, offset);
    return bytes;
}

function* sectors({ offset, data }) {
    for (let at = 0; at < data.length; ) {
        const end = Math.min(data.length, at + SECTOR - ((offset + at) % SECTOR));
        yield { offset: offset + at, data: data.subarray(at, end) };
        at = end;
    }
}

class Disk {
    /* What stands in the directory now is taken for synced. */
    constructor(dir) {
        this.dir = dir;
        this.files = new Map(); /* inode -> File */
        this.names = new Map(); /* on the disk */
        this.now = new Map(); /* as the kernel shows them */
        this.changes = []; /* of names, not synced yet: [name, inode or null] */
        this.syncs = 0;
        if (!fs.existsSync(dir)) return;
        for (const name of fs.readdirSync(dir).filter(isKept)) {
            const file = path.join(dir, name);
            const { ino } = fs.statSync(file, { bigint: true });
            this.files.set(ino, new File(fs.readFileSync(file)));
            this.names.set(name, ino);
            this.now.set(name, ino);
        }
    }

    #name(name, inode) {
        if (inode === null) this.now.delete(name);
        else this.now.set(name, inode);
        this.changes.push([name, inode]);
    }

    read(bytes) {
        for (const entry of readJournal(bytes)) this.#take(entry);
    }

    #take({ kind, path: where, inode, offset, data }) {
        const name = path.basename(where);
        const dir = 'Nn'.includes(kind) ? where : path.dirname(where);
        if (dir !== this.dir) return;
        const file = this.files.get(inode);
        if (kind === 'c') {
            if (!file) this.files.set(inode, new File());
            if (this.now.get(name) !== inode) {
                this.files.set(inode, new File()); /* the number may be that of a file that went */
                this.#name(name, inode);
            }
        } else if (kind === 'r') {
            const from = path.basename(data.toString());
            if (this.now.has(from)) {
                this.#name(name, this.now.get(from));
                this.now.delete(from);
                this.changes.at(-1).push(from); /* one change: both names or neither */
            }
        } else if (kind === 'u') {
            if (this.now.has(name)) this.#name(name, null);
        } else if (kind === 'N') this.syncing = this.changes.length;
        else if (kind === 'n') {
            for (const change of this.changes.splice(0, this.syncing)) rename(this.names, change);
            this.syncing = 0;
        } else if (!file) throw new Error(`the journal has a write to ${where}, which was never opened`);
        else if (kind === 'w' || kind === 'D') {
            file.write(offset, data);
            file.pending.at(-1).dsync = kind === 'D';
        } else if (kind === 't') file.truncate(offset);
        else if (kind === 'd') file.written();
        else if (kind === 'S') file.syncBegins();
        else if (kind === 's') {
            file.synced();
            this.syncs++;
        } else throw new Error(`the journal has an entry of kind "${kind}"`);
    }

    /* Whether the journal accounts for a file as it stands there now; its last entry may not have been done. */
    explains(name, bytes) {
        const file = this.files.get(this.now.get(name));
        const after = (n) => file.pending.slice(0, n).reduce(applied, Buffer.from(file.bytes));
        return Boolean(file) && [0, 1].some((undone) => after(file.pending.length - undone).equals(bytes));
    }

    /* Name -> bytes. */
    cut(random) {
        const names = new Map(this.names);
        const reached = random() < 0.5 ? 0 : random.between(1, this.changes.length);
        for (const change of this.changes.slice(0, reached)) rename(names, change);
        return new Map([...names].map(([name, inode]) => [name, this.files.get(inode).cut(random)]));
    }
}

function rename(names, [name, inode, from]) {
    if (inode === null) names.delete(name);
    else names.set(name, inode);
    if (from !== undefined) names.delete(from);
}

/* Puts what cut() gave in the place of what is there. */
function putBack(dir, found) {
    if (!fs.existsSync(dir)) return;
    for (const name of fs.readdirSync(dir).filter(isKept)) fs.unlinkSync(path.join(dir, name));
    for (const [name, bytes] of found) fs.writeFileSync(path.join(dir, name), bytes, { mode: 0o600 });
}

module.exports = { Disk, putBack };
