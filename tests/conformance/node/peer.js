// A service on OpenTelemetry for Node, which the tests one folder up put into a chain of calls.
//
// It serves with the instrumentation of node:http, calls with that of undici (`fetch`), and shares
// no code with spanbridge, so that what crosses the wire is the standard and not our reading of it.
// The exporter, the sampler and the service's name come from the standard OTEL_ variables.
//
// It prints `listening on URL` once it accepts connections. When standard input closes, it exports
// what is left and ends. `POST /relay` is described in ../peers/relay.rs.
'use strict';

const { context, propagation } = require('@opentelemetry/api');
const {
  CompositePropagator,
  W3CBaggagePropagator,
  W3CTraceContextPropagator,
} = require('@opentelemetry/core');
const { OTLPTraceExporter } = require('@opentelemetry/exporter-trace-otlp-proto');
const { registerInstrumentations } = require('@opentelemetry/instrumentation');
const { HttpInstrumentation } = require('@opentelemetry/instrumentation-http');
const { UndiciInstrumentation } = require('@opentelemetry/instrumentation-undici');
const { defaultResource, resourceFromAttributes } = require('@opentelemetry/resources');
const { BatchSpanProcessor, NodeTracerProvider } = require('@opentelemetry/sdk-trace-node');

const CALL_TIMEOUT_MS = 10_000;

const provider = new NodeTracerProvider({
  resource: defaultResource().merge(
    resourceFromAttributes({ 'service.name': process.env.OTEL_SERVICE_NAME }),
  ),
  spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter())],
});
provider.register({
  propagator: new CompositePropagator({
    propagators: [new W3CTraceContextPropagator(), new W3CBaggagePropagator()],
  }),
});
registerInstrumentations({
  instrumentations: [new HttpInstrumentation(), new UndiciInstrumentation()],
});

// Only now, since it is this call that the instrumentation sees.
const http = require('node:http');

/** Says what has arrived, and passes the rest of the chain on. */
async function relay(request) {
  const chunks = [];
  for await (const chunk of request) {
    chunks.push(chunk);
  }
  const names = ['traceparent', 'tracestate', 'baggage'];
  const arrived = {
    headers: Object.fromEntries(
      names.filter((name) => name in request.headers).map((name) => [name, request.headers[name]]),
    ),
    baggage: Object.fromEntries(
      (propagation.getActiveBaggage()?.getAllEntries() ?? []).map(([name, { value, metadata }]) => [
        name,
        [value, metadata?.toString() ?? ''],
      ]),
    ),
  };
  return [arrived, ...(await passOn(JSON.parse(Buffer.concat(chunks).toString())))];
}

async function passOn({ calls: [call, ...rest], set }) {
  if (call === undefined) {
    return [];
  }
  let baggage = propagation.getActiveBaggage() ?? propagation.createBaggage();
  for (const [name, value] of Object.entries(set)) {
    baggage = baggage.setEntry(name, { value });
  }
  const response = await context.with(propagation.setBaggage(context.active(), baggage), () =>
    fetch(call.url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ set: call.set, calls: rest }),
      signal: AbortSignal.timeout(CALL_TIMEOUT_MS),
    }),
  );
  if (!response.ok) {
    throw new Error(`${call.url} answered ${response.status}`);
  }
  return response.json();
}

const server = http.createServer((request, response) => {
  if (request.method !== 'POST' || request.url !== '/relay') {
    response.writeHead(404).end();
    return;
  }
  relay(request).then(
    (answer) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify(answer));
    },
    (error) => {
      console.error(error);
      response.writeHead(502).end(String(error));
    },
  );
});

server.listen(0, '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
});

// Whoever started this process holds the other end: when it is gone, so are we.
process.stdin.on('end', () => {
  server.close(async () => {
    await provider.shutdown();
    process.exit(0);
  });
  server.closeIdleConnections();
});
process.stdin.resume();
