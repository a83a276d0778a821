package sandboxtest

import (
	"testing"

	"github.com/mayfly-cloud/mayfly/sandbox"
)

// Maker makes a version with its code in a folder of the test's. The suite
// completes it.
type Maker func(t *testing.T) *sandbox.Spec

// Suite says how one driver's functions behave as the contract needs. The
// comment of each field says what its code does with an event.
type Suite struct {
	// Driver returns a driver that ends with the test, and with it all that it
	// was made of: the suite counts open descriptors.
	Driver func(t *testing.T) sandbox.Driver

	// HTTPEvents says that the code answers HTTP only (wasm by WAGI, http):
	// every call is then an HTTPRequest whose body is the event, and a reply's
	// body is what is compared.
	HTTPEvents bool

	Echo    Maker // returns the event
	Error   Maker // fails with a message that contains "deliberate"
	Exit    Maker // ends its process with status 3
	Hang    Maker // never returns
	Sleep   Maker // waits 300 ms, then returns the event; PerInstance 4
	Stream  Maker // streams "one", "two" and "three"; an HTTP call's status is 201 and its header X-Test is "yes"
	Endless Maker // streams bytes for ever
	Memory  Maker // takes memory until it is refused; Memory 64 MiB
	Print   Maker // prints the event's "line" on standard output, then returns the event
	Flood   Maker // prints 100 MB in lines, then returns the event
	NotJSON Maker // returns what is not JSON
	Broken  Maker // cannot be loaded: a syntax error, or no program
	Context Maker // returns {"id": request id, "remaining": milliseconds left, "env": the variable PROBE}; the spec's Env has PROBE=seen
}
