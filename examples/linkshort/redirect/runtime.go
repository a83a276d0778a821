package main

import (
	"bytes"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"os"
)

// event and response are the parts of API Gateway's payload 2.0 that are used.
type event struct {
	PathParameters map[string]string `json:"pathParameters"`
}

type response struct {
	StatusCode int               `json:"statusCode"`
	Headers    map[string]string `json:"headers"`
	Body       string            `json:"body"`
}

// The Lambda Runtime API, by hand; aws-lambda-go's lambda.Start(handle) does the
// same.
func main() {
	api := "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2018-06-01/runtime/invocation/"
	for {
		if err := serve(api); err != nil {
			log.Fatal(err)
		}
	}
}

// serve answers one event.
func serve(api string) error {
	next, err := http.Get(api + "next")
	if err != nil {
		return err
	}
	data, err := io.ReadAll(next.Body)
	next.Body.Close()
	if err != nil {
		return err
	}
	id := next.Header.Get("Lambda-Runtime-Aws-Request-Id")
	var e event
	var out response
	if err = json.Unmarshal(data, &e); err == nil {
		out, err = handle(e)
	}
	if err != nil {
		return post(api+id+"/error", map[string]string{"errorType": "Error", "errorMessage": err.Error()})
	}
	return post(api+id+"/response", out)
}

func post(url string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	res, err := http.Post(url, "application/json", bytes.NewReader(data))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return err
}
