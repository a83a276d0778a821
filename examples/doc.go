// Package examples holds applications as users write them, each a folder with a
// mayfly.yaml. Its test reads them; the end-to-end tests call their functions.
package examples
