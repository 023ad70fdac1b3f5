//go:build race

package hbone_test

// raceEnabled is true under the race detector, which makes pools forget at random: allocation budgets mean nothing then.
const raceEnabled = true
