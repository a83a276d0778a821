// Command wasm is a WAGI program: a header and a body on standard output.
package main

import "os"

func main() {
	_, _ = os.Stdout.WriteString("Content-Type: text/plain\n\nok")
}
