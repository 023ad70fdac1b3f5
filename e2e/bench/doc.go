// Command bench prints how fast the waypoint is, as ratios to a floor that was measured in the same run: absolute figures say
// more about the machine than about the program.
//
//	go run ./bench            everything, five rounds: about ten minutes
//	go run ./bench -rounds 2  a first look
//	go run ./bench -only micro
//	go run ./bench -profile DIR  no figures: where the waypoint spends its time, for pprof
//
// Two kinds of rows. The micro rows divide benchmarks that stand beside the code (bench_test.go in the packages). The proxy
// rows run the waypoint as a process of its own, alone on core 0 with GOMAXPROCS=1, between a load generator and a backend on
// core 1; their floor is a TLS proxy that copies bytes, in the same place. All rows take turns, round by round, so that a
// noisy neighbour is noise in all of them; what is printed is the median and the range. A row beyond ±30 % says so: run it
// again before believing it.
//
// The verdict is "reached", "short" (of the target, which says what is possible) or "FAULT" (far enough away to suspect the
// design). Nothing here fails a build.
package main
