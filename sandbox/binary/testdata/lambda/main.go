// Command lambda is an ordinary function made with aws-lambda-go. MODE says how
// it behaves.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

func main() {
	handlers := map[string]any{
		"echo":    func(_ context.Context, e json.RawMessage) (json.RawMessage, error) { return e, nil },
		"error":   func() error { return errors.New("deliberate") },
		"panic":   func() error { panic("deliberate") },
		"exit":    func() { os.Exit(3) },
		"hang":    func() { select {} },
		"sleep":   func(e json.RawMessage) (json.RawMessage, error) { time.Sleep(300 * time.Millisecond); return e, nil },
		"stream":  func() (*events.LambdaFunctionURLStreamingResponse, error) { return stream(), nil },
		"memory":  memory,
		"print":   printLine,
		"flood":   flood,
		"context": about,
		"http": func(_ context.Context, r events.APIGatewayV2HTTPRequest) (events.APIGatewayV2HTTPResponse, error) {
			return events.APIGatewayV2HTTPResponse{StatusCode: 201, Body: r.RequestContext.HTTP.Method + " " + r.RawPath}, nil
		},
	}
	mode := os.Getenv("MODE")
	if mode == "init" {
		fmt.Fprintln(os.Stderr, "cannot find my settings")
		os.Exit(4)
	}
	if mode == "endless" {
		endless()
	}
	lambda.Start(handlers[mode])
}

type slow struct{ parts []string }

func (s *slow) Read(p []byte) (int, error) {
	if len(s.parts) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.parts[0])
	s.parts = s.parts[1:]
	return n, nil
}

func stream() *events.LambdaFunctionURLStreamingResponse {
	return &events.LambdaFunctionURLStreamingResponse{StatusCode: 201, Headers: map[string]string{"X-Test": "yes"}, Body: &slow{[]string{"one", "two", "three"}}}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// endless is a runtime of its own: aws-lambda-go ends when its answer is cut.
func endless() {
	api := "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2018-06-01/runtime/invocation/"
	for {
		resp, err := http.Get(api + "next")
		if err != nil {
			log.Fatal(err)
		}
		resp.Body.Close()
		post, _ := http.NewRequest("POST", api+resp.Header.Get("Lambda-Runtime-Aws-Request-Id")+"/response", zeros{})
		post.Header.Set("Lambda-Runtime-Function-Response-Mode", "streaming")
		if resp, err = http.DefaultClient.Do(post); err == nil {
			resp.Body.Close()
		}
	}
}

func memory() {
	var all [][]byte
	for {
		b := make([]byte, 1<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		all = append(all, b)
	}
}

func printLine(e struct{ Line string }) (any, error) {
	fmt.Println(e.Line)
	return e, nil
}

func flood(e json.RawMessage) (json.RawMessage, error) {
	line := strings.Repeat("x", 999) + "\n"
	for range 100_000 {
		os.Stdout.WriteString(line)
	}
	return e, nil
}

func about(ctx context.Context) (any, error) {
	lc, _ := lambdacontext.FromContext(ctx)
	deadline, _ := ctx.Deadline()
	return map[string]any{"id": lc.AwsRequestID, "remaining": time.Until(deadline).Milliseconds(), "env": os.Getenv("PROBE"), "arn": lc.InvokedFunctionArn}, nil
}
