// A command for wasip1. An HTTP call comes as WAGI's variables, with the body on
// stdin; the answer is a header block, an empty line and the body on stdout.
// Each call gets a fresh instance.
package main

import (
	"os"
	"strings"
)

func main() {
	name := os.Getenv("X_PARAM_NAME")
	if name == "" {
		parts := strings.Split(os.Getenv("PATH_INFO"), "/")
		name = parts[len(parts)-1]
	}
	os.Stderr.WriteString("greeting " + name + "\n")
	os.Stdout.WriteString("Content-Type: text/plain\n\n" + os.Getenv("GREETING") + ", " + name + ", from wasm!\n")
}
