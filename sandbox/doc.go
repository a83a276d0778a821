// Package sandbox is the contract between the platform and what runs code: one
// Driver per runtime, one Instance per running sandbox of one version.
//
//	Driver.Prepare   once per version, at deploy: compile, check
//	Driver.Start     a new instance, ready for calls
//	Instance.Call    one event in, one reply out; Concurrency.PerInstance at once
//	Instance.Freeze  while idle (optional interface)
//	Instance.Stop    at the end
//
// A driver lives one folder down, named for its technology. The drivers whose
// code runs in processes share the walls in sandbox/process. Package
// sandboxtest is the suite that every driver passes.
package sandbox
