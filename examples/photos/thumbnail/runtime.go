package main

import (
	"bytes"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"os"
)

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
	if err := handle(data); err != nil {
		return post(api+id+"/error", map[string]string{"errorType": "Error", "errorMessage": err.Error()})
	}
	return post(api+id+"/response", "done")
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
