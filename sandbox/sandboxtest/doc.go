// Package sandboxtest is the contract of a sandbox.Driver as a test suite, and
// what the drivers' own tests share.
//
//	place      a folder for bundles and a launcher, for all tests of a package
//	function   an instance that a test calls
//	platform   what a function's client library talks to
//
// A driver's test makes a Suite and calls Run:
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
