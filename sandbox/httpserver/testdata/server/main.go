// Command server is a web program. MODE says how it behaves.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	mode := os.Getenv("MODE")
	if len(os.Args) > 1 {
		mode = os.Args[1]
	}
	handlers := map[string]http.HandlerFunc{
		"echo": func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) },
		"error": func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, `{"errorType":"E","errorMessage":"deliberate"}`, http.StatusInternalServerError)
		},
		"exit": func(http.ResponseWriter, *http.Request) { os.Exit(3) },
		"hang": func(http.ResponseWriter, *http.Request) { select {} },
		"sleep": func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(300 * time.Millisecond)
			io.Copy(w, r.Body)
		},
		"stream":  stream,
		"endless": endless,
		"memory":  memory,
		"print":   printLine,
		"flood":   flood,
		"context": about,
		"request": request,
	}
	switch mode {
	case "broken":
		fmt.Fprintln(os.Stderr, "no database")
		os.Exit(4)
	case "deaf":
		time.Sleep(time.Hour)
	}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM) // before it listens, for then it may be stopped
	l, err := net.Listen("tcp", ":"+os.Getenv("PORT"))
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Handler: handlers[mode]}
	go func() {
		<-ended
		fmt.Println("bye")
		server.Shutdown(context.Background())
		os.Exit(0)
	}()
	log.Fatal(server.Serve(l))
}

func stream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Test", "yes")
	http.SetCookie(w, &http.Cookie{Name: "a", Value: "b"})
	w.WriteHeader(201)
	for _, s := range []string{"one", "two", "three"} {
		io.WriteString(w, s)
		w.(http.Flusher).Flush()
	}
}

func endless(w http.ResponseWriter, r *http.Request) {
	b := make([]byte, 32<<10)
	for {
		if _, err := w.Write(b); err != nil {
			return
		}
	}
}

func memory(http.ResponseWriter, *http.Request) {
	var all [][]byte
	for {
		b := make([]byte, 1<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		all = append(all, b)
	}
}

func printLine(w http.ResponseWriter, r *http.Request) {
	var e struct{ Line string }
	json.NewDecoder(r.Body).Decode(&e)
	fmt.Println(e.Line)
	json.NewEncoder(w).Encode(e)
}

func flood(w http.ResponseWriter, r *http.Request) {
	line := strings.Repeat("x", 999) + "\n"
	for range 100_000 {
		os.Stdout.WriteString(line)
	}
	io.Copy(w, r.Body)
}

func about(w http.ResponseWriter, r *http.Request) {
	ms, _ := strconv.ParseInt(r.Header.Get("X-Mayfly-Deadline-Ms"), 10, 64)
	json.NewEncoder(w).Encode(map[string]any{
		"id": r.Header.Get("X-Request-Id"), "remaining": time.Until(time.UnixMilli(ms)).Milliseconds(), "env": os.Getenv("PROBE")})
}

// request answers with what it was asked.
func request(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	json.NewEncoder(w).Encode(map[string]any{"method": r.Method, "uri": r.RequestURI, "host": r.Host, "header": r.Header, "body": string(body)})
}
