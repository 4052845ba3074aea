//! The time of single steps, by criterion: `cargo bench -p bulaq-benches --bench speed`.

mod kernels;

use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};

fn steps(criterion: &mut Criterion) {
    for question in kernels::QUESTIONS {
        let mut group = criterion.benchmark_group(question.name);
        for mut kernel in (question.kernels)() {
            if !kernel.is_counted {
                group.sample_size(10);
            }
            group.bench_function(kernel.name, |bencher| match &mut kernel.prepare {
                None => bencher.iter(&mut kernel.run),
                Some(prepare) => bencher.iter_custom(|runs| {
                    let mut time = Duration::ZERO;
                    for _ in 0..runs {
                        prepare();
                        let begun = Instant::now();
                        (kernel.run)();
                        time += begun.elapsed();
                    }
                    time
                }),
            });
        }
        group.finish();
    }
}

criterion_group!(benches, steps);
criterion_main!(benches);
