// Package golden drives the real k8s.io/utils/trace and k8s.io/component-base/tracing through the
// scenarios in scenarios.json, on a paused clock, and compares what they print with the files in
// vectors/. `go test -update` writes these files. The Rust side reads the same two.
package golden

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"k8s.io/component-base/tracing"
	"k8s.io/klog/v2"
	utiltrace "k8s.io/utils/trace"
)

var update = flag.Bool("update", false, "write the vectors instead of comparing with them")

type scenario struct {
	Name      string `json:"name"`
	Verbosity int    `json:"verbosity"`
	// Zone is how far local time is ahead of UTC, such as +05:30; nothing stands for UTC.
	Zone string `json:"zone"`
	Does []call `json:"does"`
}

// A call is an array: what is done, then its arguments.
type call []json.RawMessage

func TestMain(m *testing.M) {
	klog.InitFlags(nil)
	for name, value := range map[string]string{"logtostderr": "false", "stderrthreshold": "FATAL"} {
		if err := flag.Set(name, value); err != nil {
			panic(err)
		}
	}
	flag.Parse()
	os.Exit(m.Run())
}

func TestVectors(t *testing.T) {
	text, err := os.ReadFile("scenarios.json")
	if err != nil {
		t.Fatal(err)
	}
	var scenarios []scenario
	if err := json.Unmarshal(text, &scenarios); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, scenario := range scenarios {
		path := filepath.Join("vectors", scenario.Name+".txt")
		if seen[path] {
			t.Fatalf("two scenarios are called %s", scenario.Name)
		}
		seen[path] = true
		t.Run(scenario.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := normalise(run(scenario))
				if *update {
					if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
						t.Fatal(err)
					}
					return
				}
				want, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if got != string(want) {
					t.Errorf("%s differs; it would be\n%s", path, got)
				}
			})
		})
	}
	paths, err := filepath.Glob("vectors/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if !seen[path] {
			t.Errorf("%s has no scenario", path)
		}
	}
}

// The numbers of blocks are random, and processes have ids.
var (
	number = regexp.MustCompile(`(?m)(^|\] )Trace\[\d+\]: `)
	pid    = regexp.MustCompile(`(?m)^(I\d{4} [\d:.]{15}) [ \d]{7} `)
)

func normalise(text string) string {
	text = pid.ReplaceAllString(text, "$1     PID ")
	return number.ReplaceAllString(text, "${1}Trace[N]: ")
}

// A runner has what the calls of one scenario have made.
type runner struct {
	out    bytes.Buffer
	traces map[string]*utiltrace.Trace
	spans  map[string]*span
}

// A span is component-base's, and the context that came with it.
type span struct {
	*tracing.Span
	ctx context.Context
}

func run(s scenario) string {
	// Times are printed in the local time zone.
	time.Local = zone(s.Zone)
	r := runner{traces: map[string]*utiltrace.Trace{"nil": nil}, spans: map[string]*span{}}
	klog.SetOutput(&r.out)
	verbosity(strconv.Itoa(s.Verbosity))
	exporter := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter))
	r.all(context.Background(), provider, s.Does)
	for _, span := range exporter.GetSpans() {
		r.print(span, exporter.GetSpans())
	}
	return r.out.String()
}

func zone(offset string) *time.Location {
	if offset == "" {
		return time.UTC
	}
	_, seconds := must(time.Parse("-07:00", offset)).Zone()
	return time.FixedZone(offset, seconds)
}

func verbosity(level string) {
	if err := flag.Set("v", level); err != nil {
		panic(err)
	}
}

func (r *runner) all(ctx context.Context, provider *sdktrace.TracerProvider, calls []call) {
	for _, c := range calls {
		switch c.text(0) {
		case "verbosity":
			verbosity(c.text(1))
		case "sleep":
			time.Sleep(c.duration(1))

		case "new":
			r.traces[c.text(1)] = utiltrace.New(c.text(2), c.fields(3)...)
		case "nest":
			r.traces[c.text(1)] = r.traces[c.text(2)].Nest(c.text(3), c.fields(4)...)
		case "step":
			r.traces[c.text(1)].Step(c.text(2), c.fields(3)...)
		case "log":
			r.traces[c.text(1)].Log()
		case "log_if_long":
			r.traces[c.text(1)].LogIfLong(c.duration(2))
		case "total_time":
			fmt.Fprintf(&r.out, "total time %v\n", r.traces[c.text(1)].TotalTime())
		case "in":
			r.all(utiltrace.ContextWithTrace(ctx, r.traces[c.text(1)]), provider, c.calls(2))
		case "current":
			r.traces[c.text(1)] = utiltrace.FromContext(ctx)

		case "otel":
			inner, span := provider.Tracer("golden").Start(ctx, c.text(1))
			r.all(inner, provider, c.calls(2))
			span.End()
		case "start":
			inner, started := tracing.Start(ctx, c.text(2), c.attributes(3)...)
			r.spans[c.text(1)] = &span{started, inner}
		case "add_event":
			r.spans[c.text(1)].AddEvent(c.text(2), c.attributes(3)...)
		case "record_error":
			r.spans[c.text(1)].RecordError(errors.New(c.text(2)), c.attributes(3)...)
		case "end":
			r.spans[c.text(1)].End(c.duration(2))
		case "in_span":
			r.all(tracing.ContextWithSpan(ctx, r.spans[c.text(1)].Span), provider, c.calls(2))
		case "span_from_context":
			r.spans[c.text(1)] = &span{tracing.SpanFromContext(ctx), ctx}
		default:
			panic("unknown call " + c.text(0))
		}
	}
}

func (r *runner) print(span tracetest.SpanStub, all tracetest.SpanStubs) {
	fmt.Fprintf(&r.out, "span %q", span.Name)
	for _, other := range all {
		if other.SpanContext.SpanID() == span.Parent.SpanID() {
			fmt.Fprintf(&r.out, " in %q", other.Name)
		}
	}
	r.attributes(span.Attributes)
	for _, event := range span.Events {
		fmt.Fprintf(&r.out, "  event %q", event.Name)
		r.attributes(event.Attributes)
	}
}

func (r *runner) attributes(attributes []attribute.KeyValue) {
	for _, a := range attributes {
		value := fmt.Sprintf("%v", a.Value.AsInterface())
		if a.Key == "exception.type" {
			// Each language has its own.
			value = "TYPE"
		}
		fmt.Fprintf(&r.out, " %s=%s:%s", a.Key, strings.ToLower(a.Value.Type().String()), value)
	}
	r.out.WriteString("\n")
}

func (c call) text(i int) string {
	return decode[string](c[i])
}

func (c call) calls(i int) []call {
	return decode[[]call](c[i])
}

func (c call) duration(i int) time.Duration {
	d, err := time.ParseDuration(c.text(i))
	if err != nil {
		panic(err)
	}
	return d
}

// Fields are an array of arrays: key, type, and value as a text. Nothing stands for none.
func (c call) fields(i int) []utiltrace.Field {
	var fields []utiltrace.Field
	for _, f := range c.triples(i) {
		fields = append(fields, utiltrace.Field{Key: f[0], Value: value(f[1], f[2])})
	}
	return fields
}

func (c call) attributes(i int) []attribute.KeyValue {
	var attributes []attribute.KeyValue
	for _, f := range c.triples(i) {
		a := attribute.KeyValue{Key: attribute.Key(f[0])}
		switch v := value(f[1], f[2]).(type) {
		case string:
			a.Value = attribute.StringValue(v)
		case int64:
			a.Value = attribute.Int64Value(v)
		case float64:
			a.Value = attribute.Float64Value(v)
		case bool:
			a.Value = attribute.BoolValue(v)
		case []string:
			a.Value = attribute.StringSliceValue(v)
		case []int64:
			a.Value = attribute.Int64SliceValue(v)
		case []float64:
			a.Value = attribute.Float64SliceValue(v)
		case []bool:
			a.Value = attribute.BoolSliceValue(v)
		default:
			panic("no attribute has the type " + f[1])
		}
		attributes = append(attributes, a)
	}
	return attributes
}

func (c call) triples(i int) [][3]string {
	if i >= len(c) {
		return nil
	}
	return decode[[][3]string](c[i])
}

func value(kind, text string) any {
	switch kind {
	case "text":
		return text
	case "int":
		return must(strconv.ParseInt(text, 10, 64))
	case "float":
		return must(strconv.ParseFloat(text, 64))
	case "bool":
		return must(strconv.ParseBool(text))
	case "duration":
		return must(time.ParseDuration(text))
	case "texts":
		return strings.Split(text, "|")
	case "bools":
		return all(text, strconv.ParseBool)
	case "floats":
		return all(text, func(s string) (float64, error) { return strconv.ParseFloat(s, 64) })
	case "ints":
		return all(text, func(s string) (int64, error) { return strconv.ParseInt(s, 10, 64) })
	case "nil":
		return nil
	case "error":
		return errors.New(text)
	default:
		panic("unknown type " + kind)
	}
}

// All of `1|2`.
func all[T any](text string, parse func(string) (T, error)) []T {
	var values []T
	for _, one := range strings.Split(text, "|") {
		values = append(values, must(parse(one)))
	}
	return values
}

func decode[T any](raw json.RawMessage) T {
	var v T
	if err := json.Unmarshal(raw, &v); err != nil {
		panic(fmt.Sprintf("%s: %v", raw, err))
	}
	return v
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
