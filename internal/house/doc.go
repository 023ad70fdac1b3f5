// Package house holds the rules of the repository, as tests: which package may import which, what the production binary
// must not carry, what no text file may say, that every target is in `make help` and every link leads somewhere. A rule
// that is not tested here is a habit; a rule broken on purpose is a one-line diff in this folder.
package house
