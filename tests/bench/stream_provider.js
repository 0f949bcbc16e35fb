'use strict';
/*
 * An OpenAI provider that only streams, for streams.js, in a process of its own so that nothing it does delays who measures. The last
 * message says what: "NAME TOKENS PAUSE_MS" is answered by the tokens "NAME.0 NAME.1 …". Prints its port.
 */
const http = require('node:http');

const event = (delta, reason = null) =>
  `data: ${JSON.stringify({ id: 'chatcmpl-b', object: 'chat.completion.chunk', created: 1, model: 'm', choices: [{ index: 0, delta, finish_reason: reason }], usage: null })}\n\n`;
const END = `${event({}, 'stop')}data: ${JSON.stringify({ id: 'chatcmpl-b', object: 'chat.completion.chunk', created: 1, model: 'm', choices: [], usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 } })}\n\ndata: [DONE]\n\n`;

const server = http.createServer((req, res) => {
  if (req.method !== 'POST') return res.end('{"object":"list","data":[{"id":"m","object":"model"}]}');
  const chunks = [];
  req.on('data', (chunk) => chunks.push(chunk));
  req.on('end', () => {
    const [name, tokens, pause] = JSON.parse(Buffer.concat(chunks)).messages.at(-1).content.split(' ');
    let i = 0;
    res.writeHead(200, { 'Content-Type': 'text/event-stream' });
    const next = () => {
      if (res.destroyed) return;
      if (i === Number(tokens)) return res.end(END);
      res.write(event(i ? { content: `${name}.${i++} ` } : { role: 'assistant', content: `${name}.${i++} ` }));
      setTimeout(next, Number(pause));
    };
    next();
  });
});
server.keepAliveTimeout = 60000;
server.listen(0, '127.0.0.1', 4096, () => console.log(server.address().port));
