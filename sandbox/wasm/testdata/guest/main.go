// Command guest is a wasip1 command. MODE says how it behaves. It avoids large
// packages: it is compiled to native code by every run of the tests.
package main

import (
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

func print(parts ...string) {
	for _, p := range parts {
		os.Stdout.WriteString(p)
	}
}

func quote(s string) string { return strconv.Quote(s) }

func main() {
	switch mode := os.Getenv("MODE"); mode {
	case "echo":
		io.Copy(os.Stdout, os.Stdin)
	case "error":
		os.Stderr.WriteString("a deliberate failure\n")
		os.Exit(3)
	case "said":
		print(`{"errorType":"Mine","errorMessage":"as I say"}`)
		os.Exit(1)
	case "panic":
		panic("deliberate")
	case "hang":
		for {
		}
	case "sleep":
		time.Sleep(300 * time.Millisecond)
		io.Copy(os.Stdout, os.Stdin)
	case "stream":
		print("Status: 201 Created\r\nX-Test: yes\r\nContent-Type: text/plain\r\nSet-Cookie: a=b\r\n\r\none")
		time.Sleep(time.Millisecond)
		print("two")
		time.Sleep(time.Millisecond)
		print("three")
	case "endless":
		print("Content-Type: text/plain\n\n")
		b := make([]byte, 32<<10)
		for {
			os.Stdout.Write(b)
		}
	case "memory":
		var all [][]byte
		for {
			b := make([]byte, 1<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			all = append(all, b)
		}
	case "print":
		event, _ := io.ReadAll(os.Stdin)
		_, line, _ := strings.Cut(string(event), `"line":"`)
		line, _, _ = strings.Cut(line, `"`)
		os.Stderr.WriteString(line + "\n")
		os.Stdout.Write(event)
	case "flood":
		line := []byte(strings.Repeat("x", 999) + "\n")
		for range 100_000 {
			os.Stderr.Write(line)
		}
		io.Copy(os.Stdout, os.Stdin)
	case "context":
		ms, _ := strconv.ParseInt(os.Getenv("MAYFLY_DEADLINE_MS"), 10, 64)
		left := time.Until(time.UnixMilli(ms)).Milliseconds()
		print(`{"id":`, quote(os.Getenv("MAYFLY_REQUEST_ID")), `,"remaining":`, strconv.FormatInt(left, 10), `,"env":`, quote(os.Getenv("PROBE")), `}`)
	case "env":
		var env []string
		for _, e := range os.Environ() {
			env = append(env, quote(e))
		}
		body, _ := io.ReadAll(os.Stdin)
		print(`{"env":[`, strings.Join(env, ","), `],"body":`, quote(string(body)), `}`)
	case "file":
		b, err := os.ReadFile(os.Getenv("FILE"))
		writeErr := os.WriteFile("/written", nil, 0o644)
		print(`{"content":`, quote(string(b)), `,"failed":`, strconv.FormatBool(err != nil), `,"written":`, strconv.FormatBool(writeErr == nil), `}`)
	case "large":
		print("Content-Type: text/plain\n\n", strings.Repeat("x", 20<<20))
	case "toolarge":
		os.Stdout.Write(make([]byte, 8<<20))
	case "fail-late":
		print("Content-Type: text/plain\n\n", strings.Repeat("x", 64<<10))
		os.Exit(4)
	case "answer":
		print(os.Getenv("ANSWER"))
	}
}
