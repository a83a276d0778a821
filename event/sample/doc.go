// Package sample has a realistic event of each kind that a handler may get.
package sample
