// Package dead lets people see dead letters, of whatever source, and bring them
// back to life.
package dead
