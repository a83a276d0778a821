// Package triggertest gives tests of triggers real parts: an engine in a
// temporary folder, stores over its logs, and apps that a test declares.
package triggertest
