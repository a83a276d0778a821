// Command versioned answers a text that the benchmark changes in the module.
package main

import "os"

func main() {
	_, _ = os.Stdout.WriteString("Content-Type: text/plain\n\nv000000;")
}
