package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

const (
	traceID     = "4bf92f3577b34da6a3ce929d0e0e4736"
	parentID    = "00f067aa0ba902b7"
	traceparent = "00-" + traceID + "-" + parentID + "-01"
)

// post sends body to a webhook whose spans are kept in memory.
func post(t *testing.T, body string) (*http.Response, []byte, tracetest.SpanStubs) {
	t.Helper()
	exporter := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter))
	server := httptest.NewServer(newHandler(provider, newPropagator()))
	defer server.Close()

	call, err := http.NewRequest(http.MethodPost, server.URL+"/admit", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	call.Header.Set("traceparent", traceparent)
	call.Header.Set("baggage", "tenant=blue")
	answer, err := server.Client().Do(call)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	// The server span ends after the answer has left; closing the server waits for that.
	server.Close()
	return answer, text, exporter.GetSpans()
}

func reviewFor(apiserver string) string {
	return `{"kind":"AdmissionReview","request":{"uid":"7","operation":"CREATE","namespace":"ns","name":"web-0","apiserver":"` + apiserver + `"}}`
}

func verdictIn(t *testing.T, text []byte) *response {
	t.Helper()
	var answered review
	if err := json.Unmarshal(text, &answered); err != nil || answered.Response == nil {
		t.Fatalf("no response in %q: %v", text, err)
	}
	return answered.Response
}

func TestReentrantCallContinuesTheTrace(t *testing.T) {
	var path string
	var header http.Header
	apiserver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		path, header = r.URL.Path, r.Header
	}))
	defer apiserver.Close()

	_, text, spans := post(t, reviewFor(apiserver.URL))

	if verdict := verdictIn(t, text); !verdict.Allowed || verdict.UID != "7" {
		t.Errorf("verdict: %+v", verdict)
	}
	if path != "/api/v1/namespaces/ns/pods" {
		t.Errorf("called %s", path)
	}
	if header.Get("baggage") != "tenant=blue" {
		t.Errorf("baggage: %q", header.Get("baggage"))
	}
	if len(spans) != 2 {
		t.Fatalf("spans: %+v", spans)
	}
	client, server := spans[0], spans[1]
	if client.SpanKind != trace.SpanKindClient || server.SpanKind != trace.SpanKindServer {
		t.Fatalf("kinds: %v, %v", client.SpanKind, server.SpanKind)
	}
	if server.Parent.SpanID().String() != parentID || client.Parent.SpanID() != server.SpanContext.SpanID() {
		t.Errorf("parents: %v, %v", server.Parent.SpanID(), client.Parent.SpanID())
	}
	if want := "00-" + traceID + "-" + client.SpanContext.SpanID().String() + "-01"; header.Get("traceparent") != want {
		t.Errorf("traceparent: %q, not %q", header.Get("traceparent"), want)
	}
}

func TestObjectIsRefusedWhenTheReentrantCallFails(t *testing.T) {
	broken := httptest.NewServer(http.NotFoundHandler())
	defer broken.Close()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for _, apiserver := range []string{broken.URL, gone.URL, "", "::"} {
		answer, text, _ := post(t, reviewFor(apiserver))
		verdict := verdictIn(t, text)
		if answer.StatusCode != http.StatusOK || verdict.Allowed || verdict.Status == nil || verdict.Status.Message == "" {
			t.Errorf("apiserver %q: %d %s", apiserver, answer.StatusCode, text)
		}
	}
}

func TestUnreadableReviewIsABadRequest(t *testing.T) {
	for _, body := range []string{
		``, `{`, `{"kind":"Pod"}`, `{"kind":"AdmissionReview"}`,
		`{"kind":"AdmissionReview","request":{"uid":"7"}}`,
		`{"kind":"` + strings.Repeat("x", maxBody) + `"}`,
	} {
		if answer, text, _ := post(t, body); answer.StatusCode != http.StatusBadRequest {
			t.Errorf("%.40q: %d %s", body, answer.StatusCode, text)
		}
	}
}
