package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

const (
	// The largest review that is read, and the largest answer of the API server.
	maxBody = 1 << 20
	// How long the API server may take to answer the re-entrant call.
	callTimeout = 10 * time.Second
)

// review is the part of an AdmissionReview that this webhook reads and writes.
type review struct {
	Kind     string    `json:"kind"`
	Request  *request  `json:"request,omitempty"`
	Response *response `json:"response,omitempty"`
}

type request struct {
	UID       string `json:"uid"`
	Operation string `json:"operation"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// APIServer is the base URL to call back. A real webhook has it from its own configuration.
	APIServer string `json:"apiserver"`
}

type response struct {
	UID     string  `json:"uid"`
	Allowed bool    `json:"allowed"`
	Status  *status `json:"status,omitempty"`
}

// status says why a request was not allowed.
type status struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

type webhook struct {
	client *http.Client
}

// newHandler returns the traced webhook: POST /admit.
func newHandler(provider trace.TracerProvider, propagator propagation.TextMapPropagator) http.Handler {
	options := []otelhttp.Option{
		otelhttp.WithTracerProvider(provider),
		otelhttp.WithPropagators(propagator),
	}
	hook := &webhook{client: &http.Client{
		Transport: otelhttp.NewTransport(http.DefaultTransport, options...),
		Timeout:   callTimeout,
	}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /admit", hook.admit)
	return otelhttp.NewHandler(mux, "webhook", options...)
}

// admit answers a review: 400 if it cannot be read, else 200 with the verdict in the body.
func (hook *webhook) admit(w http.ResponseWriter, r *http.Request) {
	span := trace.SpanFromContext(r.Context())
	if tenant := baggage.FromContext(r.Context()).Member("tenant"); tenant.Key() != "" {
		span.SetAttributes(attribute.String("baggage.tenant", tenant.Value()))
	}

	asked, err := readReview(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		span.RecordError(err)
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}

	verdict := &response{UID: asked.UID, Allowed: true}
	if err := hook.listPods(r.Context(), asked); err != nil {
		span.RecordError(err)
		span.SetStatus(codes.Error, "re-entrant call failed")
		verdict.Allowed = false
		verdict.Status = &status{Code: http.StatusBadGateway, Message: err.Error()}
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(review{Kind: "AdmissionReview", Response: verdict}); err != nil {
		span.RecordError(err)
	}
}

func readReview(body io.Reader) (*request, error) {
	var asked review
	if err := json.NewDecoder(body).Decode(&asked); err != nil {
		return nil, fmt.Errorf("reading the AdmissionReview: %w", err)
	}
	switch {
	case asked.Kind != "AdmissionReview":
		return nil, fmt.Errorf("kind is %q, not AdmissionReview", asked.Kind)
	case asked.Request == nil:
		return nil, errors.New("the AdmissionReview has no request")
	case asked.Request.UID == "" || asked.Request.Namespace == "":
		return nil, errors.New("the request needs a uid and a namespace")
	}
	return asked.Request, nil
}

// listPods makes the re-entrant call: it lists the namespace that the object is about to join.
func (hook *webhook) listPods(ctx context.Context, asked *request) error {
	target, err := url.JoinPath(asked.APIServer, "api/v1/namespaces", url.PathEscape(asked.Namespace), "pods")
	if err != nil {
		return fmt.Errorf("apiserver %q: %w", asked.APIServer, err)
	}
	call, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return fmt.Errorf("apiserver %q: %w", asked.APIServer, err)
	}
	answer, err := hook.client.Do(call)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	// otelhttp ends the client span at the end of the body, not at its headers.
	if _, err := io.Copy(io.Discard, io.LimitReader(answer.Body, maxBody)); err != nil {
		return fmt.Errorf("reading the answer of %s: %w", target, err)
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", target, answer.Status)
	}
	return nil
}
