"""A service on OpenTelemetry for Python, which the tests one folder up put into a chain of calls.

It serves with the WSGI instrumentation, calls with that of requests, and shares no code with
spanbridge, so that what crosses the wire is the standard and not our reading of it. The exporter,
the sampler and the service's name come from the standard OTEL_ variables.

It prints `listening on URL` once it accepts connections. When standard input closes, it exports
what is left and ends. `POST /relay` is described in ../peers/relay.rs.
"""

import json
import socketserver
import sys
import threading
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import requests
from opentelemetry import baggage, context, propagate
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

CALL_TIMEOUT_S = 10


def relay(environ, start_response):
    """Says what has arrived, and passes the rest of the chain on."""
    if (environ["REQUEST_METHOD"], environ["PATH_INFO"]) != ("POST", "/relay"):
        start_response("404 Not Found", [])
        return []
    request = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
    arrived = {
        "headers": {
            name: environ["HTTP_" + name.upper()]
            for name in ("traceparent", "tracestate", "baggage")
            if "HTTP_" + name.upper() in environ
        },
        # This API has no properties.
        "baggage": {name: [str(value), ""] for name, value in baggage.get_all().items()},
    }
    answer = json.dumps([arrived, *pass_on(request)]).encode()
    start_response("200 OK", [("Content-Type", "application/json")])
    return [answer]


def pass_on(request):
    if not request["calls"]:
        return []
    call, *rest = request["calls"]
    cx = context.get_current()
    for name, value in request["set"].items():
        cx = baggage.set_baggage(name, value, cx)
    token = context.attach(cx)
    try:
        response = requests.post(
            call["url"], json={"set": call["set"], "calls": rest}, timeout=CALL_TIMEOUT_S
        )
    finally:
        context.detach(token)
    response.raise_for_status()
    return response.json()


class Server(socketserver.ThreadingMixIn, WSGIServer):
    """Each request on a thread of its own, all of which `server_close` waits for."""


class Handler(WSGIRequestHandler):
    def log_message(self, *_):
        """Requests are no news here."""


def main():
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    propagate.set_global_textmap(
        CompositePropagator([TraceContextTextMapPropagator(), W3CBaggagePropagator()])
    )
    RequestsInstrumentor().instrument(tracer_provider=provider)
    app = OpenTelemetryMiddleware(relay, tracer_provider=provider)
    server = make_server("127.0.0.1", 0, app, server_class=Server, handler_class=Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)

    # Whoever started this process holds the other end: when it is gone, so are we.
    sys.stdin.read()
    server.shutdown()
    server.server_close()
    provider.shutdown()


if __name__ == "__main__":
    main()
