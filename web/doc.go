// Package web is the console: a single-page application that uses the public
// API only. Its sources are TypeScript in src/, its build is committed in
// dist/ and embedded here, so that a build of the binary needs no Node.
package web
