// Command app is the program of a container: a web server, or a runtime of
// events where its first argument says so. MODE says how it behaves.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

func main() {
	switch os.Getenv("MODE") {
	case "broken":
		fmt.Fprintln(os.Stderr, "no database")
		os.Exit(4)
	case "deaf":
		time.Sleep(time.Hour)
	}
	if len(os.Args) > 1 && os.Args[1] == "events" {
		events()
	}
	http.HandleFunc("/", serve)
	err := http.ListenAndServe(":"+os.Getenv("PORT"), nil)
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// act does what MODE says, and returns what is said of an event.
func act(event []byte, id string, deadline time.Time) ([]byte, error) {
	switch os.Getenv("MODE") {
	case "error":
		return nil, errors.New("deliberate")
	case "exit":
		os.Exit(3)
	case "hang":
		time.Sleep(time.Hour)
	case "sleep":
		time.Sleep(300 * time.Millisecond)
	case "memory":
		memory()
	case "print":
		var e struct{ Line string }
		json.Unmarshal(event, &e)
		fmt.Println(e.Line)
	case "flood":
		line := strings.Repeat("x", 999) + "\n"
		for range 100_000 {
			os.Stdout.WriteString(line)
		}
	case "context":
		return json.Marshal(map[string]any{"id": id, "remaining": time.Until(deadline).Milliseconds(), "env": os.Getenv("PROBE")})
	case "about":
		return about()
	}
	return event, nil
}

func about() ([]byte, error) {
	dir, _ := os.Getwd()
	err := os.WriteFile("/app/changed", []byte("x"), 0o644)
	if err != nil { // root of a cell has no power over the files of others
		err = os.WriteFile("/changed", []byte("x"), 0o644)
	}
	_, shadow := os.ReadFile("/etc/shadow")
	return json.Marshal(map[string]any{
		"uid": os.Getuid(), "gid": os.Getgid(), "dir": dir, "args": os.Args, "image": os.Getenv("FROM_IMAGE"), "path": os.Getenv("PATH"),
		"wrote": err == nil, "shadow": shadow == nil,
	})
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

func serve(w http.ResponseWriter, r *http.Request) {
	switch os.Getenv("MODE") {
	case "stream":
		w.Header().Set("X-Test", "yes")
		w.WriteHeader(201)
		for _, s := range []string{"one", "two", "three"} {
			io.WriteString(w, s)
			w.(http.Flusher).Flush()
		}
		return
	case "endless":
		for b := make([]byte, 32<<10); ; {
			if _, err := w.Write(b); err != nil {
				return
			}
		}
	}
	event, _ := io.ReadAll(r.Body)
	ms, _ := strconv.ParseInt(r.Header.Get("X-Mayfly-Deadline-Ms"), 10, 64)
	answer, err := act(event, r.Header.Get("X-Request-Id"), time.UnixMilli(ms))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Write(answer)
}

// events asks the Lambda Runtime API.
func events() {
	api := "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2018-06-01/runtime/invocation/"
	for {
		req, _ := http.NewRequestWithContext(context.Background(), http.MethodGet, api+"next", nil)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		event, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		id := resp.Header.Get("Lambda-Runtime-Aws-Request-Id")
		ms, _ := strconv.ParseInt(resp.Header.Get("Lambda-Runtime-Deadline-Ms"), 10, 64)
		answer, err := act(event, id, time.UnixMilli(ms))
		verb := "/response"
		if err != nil {
			verb, answer = "/error", []byte(`{"errorType":"E","errorMessage":"`+err.Error()+`"}`)
		}
		if resp, err = http.Post(api+id+verb, "application/json", bytes.NewReader(answer)); err == nil {
			resp.Body.Close()
		}
	}
}
