// Package templates holds the projects that `mayfly new` starts from. Each is a
// folder of files; a name that ends in ".tmpl" loses the ending (Go would take
// the files for code of this module), and "{{app}}" becomes the app's name.
package templates
