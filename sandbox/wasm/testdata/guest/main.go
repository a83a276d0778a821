// Command guest is a wasip1 command. MODE says how it behaves.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sort"
	"strconv"
	"strings"
	"time"
)

func main() {
	switch mode := os.Getenv("MODE"); mode {
	case "echo":
		io.Copy(os.Stdout, os.Stdin)
	case "error":
		fmt.Fprintln(os.Stderr, "a deliberate failure")
		os.Exit(3)
	case "said":
		fmt.Print(`{"errorType":"Mine","errorMessage":"as I say"}`)
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
		fmt.Print("Status: 201 Created\r\nX-Test: yes\r\nContent-Type: text/plain\r\nSet-Cookie: a=b\r\n\r\none")
		time.Sleep(time.Millisecond)
		fmt.Print("two")
		time.Sleep(time.Millisecond)
		fmt.Print("three")
	case "endless":
		fmt.Print("Content-Type: text/plain\n\n")
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
		var e struct{ Line string }
		json.NewDecoder(os.Stdin).Decode(&e)
		fmt.Fprintln(os.Stderr, e.Line)
		json.NewEncoder(os.Stdout).Encode(e)
	case "flood":
		line := []byte(strings.Repeat("x", 999) + "\n")
		for range 100_000 {
			os.Stderr.Write(line)
		}
		io.Copy(os.Stdout, os.Stdin)
	case "context":
		ms, _ := strconv.ParseInt(os.Getenv("MAYFLY_DEADLINE_MS"), 10, 64)
		json.NewEncoder(os.Stdout).Encode(map[string]any{
			"id": os.Getenv("MAYFLY_REQUEST_ID"), "remaining": time.Until(time.UnixMilli(ms)).Milliseconds(), "env": os.Getenv("PROBE")})
	case "env":
		env := os.Environ()
		sort.Strings(env)
		body, _ := io.ReadAll(os.Stdin)
		json.NewEncoder(os.Stdout).Encode(map[string]any{"env": env, "body": string(body)})
	case "file":
		b, err := os.ReadFile(os.Getenv("FILE"))
		writeErr := os.WriteFile("/written", nil, 0o644)
		json.NewEncoder(os.Stdout).Encode(map[string]any{"content": string(b), "failed": err != nil, "written": writeErr == nil})
	case "large":
		fmt.Print("Content-Type: text/plain\n\n", strings.Repeat("x", 20<<20))
	case "toolarge":
		os.Stdout.Write(make([]byte, 8<<20))
	case "fail-late":
		fmt.Print("Content-Type: text/plain\n\n", strings.Repeat("x", 64<<10))
		os.Exit(4)
	case "answer":
		fmt.Print(os.Getenv("ANSWER"))
	}
}
