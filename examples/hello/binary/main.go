// A function that speaks the Lambda Runtime API with nothing but the standard
// library: ask for an event, answer it, and again. With aws-lambda-go this is
// lambda.Start(handle).
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
)

type event struct {
	PathParameters map[string]string `json:"pathParameters"`
}

type response struct {
	StatusCode int               `json:"statusCode"`
	Headers    map[string]string `json:"headers"`
	Body       string            `json:"body"`
}

func handle(e event) (response, error) {
	body, err := json.Marshal(map[string]string{
		"message": fmt.Sprintf("%s, %s!", os.Getenv("GREETING"), e.PathParameters["name"]),
		"from":    "binary",
	})
	return response{StatusCode: 200, Headers: map[string]string{"content-type": "application/json"}, Body: string(body)}, err
}

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
