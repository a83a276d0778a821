// Package sandboxtest is the contract of a sandbox.Driver as a test suite. A
// driver's own test makes a Suite and calls Run:
//
//	func TestContract(t *testing.T) {
//		sandboxtest.Run(t, sandboxtest.Suite{
//			Driver: newDriver,
//			Echo:   func(t *testing.T) *sandbox.Spec { … },
//			…
//		})
//	}
//
// Each maker returns a version whose code shows one behaviour. A behaviour that
// a runtime cannot have is left nil, and its test is skipped by name.
package sandboxtest
