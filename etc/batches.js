// Sends prompts to a running carpool and looks at the batches they made. For etc/quick-batch and
// etc/batching-live. An API key is taken from API_KEY.
'use strict';
const { randomUUID } = require('node:crypto');

// The address from the command line, else of the default `make run`.
function address() {
    const text = process.argv[2] || 'http://127.0.0.1:8000';
    let url;
    try {
        url = new URL(text);
    } catch {
        fail(`"${text}" is not a URL; give one such as http://127.0.0.1:8000.`);
    }
    return url.href.replace(/\/+$/, '');
}

function fail(sentence) {
    console.error(sentence);
    process.exit(1);
}

async function ask(url, priority, prompt) {
    const headers = { 'Content-Type': 'application/json' };
    if (process.env.API_KEY) {
        headers['X-API-Key'] = process.env.API_KEY;
    }
    const body = { username: 'batches', request_id: randomUUID(), prompt, priority, created_at: new Date().toISOString() };
    const began = performance.now();
    let response;
    try {
        response = await fetch(`${url}/v1/query`, { method: 'POST', headers, body: JSON.stringify(body) });
    } catch (e) {
        fail(`${url} does not answer (${e.cause?.code || e.message}). Is it running? Start it with "make run", or give its address: URL=http://host:port.`);
    }
    const text = await response.text();
    const took = (performance.now() - began) / 1000;
    if (!response.ok) {
        if (response.status === 401) {
            const what = process.env.API_KEY ? 'does not take the key in API_KEY' : 'needs a key';
            fail(`${url} ${what}: set API_KEY to one that it knows (carpoolctl key create makes one).`);
        }
        fail(`${url}/v1/query answered ${response.status}: ${text}`);
    }
    // The server's own word on how long the prompt waited for its batch: free of the provider's time.
    const queue = /\bqueue;dur=([\d.]+)/.exec(response.headers.get('server-timing') || '');
    return { priority, batch: JSON.parse(text).batch_id, took, waited: queue ? Number(queue[1]) / 1000 : took };
}

// wanted: {HIGH: 3, …}, all sent at once. Gives the batches, largest first: [{id, priority, size, took,
// waited}], the times in seconds and of the slowest member.
async function send(url, wanted) {
    // No two prompts are alike, so that none is answered from the cache.
    const prompts = Object.entries(wanted).flatMap(([priority, n]) => Array.from({ length: n }, (_, i) => [priority, i]));
    const answers = await Promise.all(prompts.map(([priority, i]) => ask(url, priority, `${priority} prompt ${i + 1} (${randomUUID()})`)));
    const batches = new Map();
    for (const { priority, batch, took, waited } of answers) {
        const seen = batches.get(batch) || { id: batch, priority, size: 0, took: 0, waited: 0 };
        seen.size++;
        seen.took = Math.max(seen.took, took);
        seen.waited = Math.max(seen.waited, waited);
        batches.set(batch, seen);
    }
    return [...batches.values()].sort((a, b) => b.size - a.size);
}

module.exports = { address, send };
