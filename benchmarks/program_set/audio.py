"""Programs that work with sound: features, augmentation, transducers, decoding."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from benchmarks.program_set.registry import program


@program("torchaudio")
def torchaudio_features() -> None:
    import torchaudio

    wave = torch.randn(2, 8000, device="cuda")
    mel = torchaudio.transforms.MelSpectrogram(16000, n_fft=400, n_mels=40).to("cuda")(wave)
    decibels = torchaudio.transforms.AmplitudeToDB(top_db=80).cuda()(mel)
    mfcc = torchaudio.transforms.MFCC(16000, n_mfcc=13).to("cuda")(wave)
    resampled = torchaudio.transforms.Resample(16000, 8000).to("cuda")(wave)
    stretched = torchaudio.functional.phase_vocoder(
        torch.stft(wave, 400, return_complex=True), 1.2, torch.linspace(0, 1, 201, device="cuda")[..., None]
    )
    masked = torchaudio.transforms.FrequencyMasking(8)(torchaudio.transforms.TimeMasking(10)(decibels))
    torchaudio.functional.lowpass_biquad(wave, 16000, 3000.0)
    print(mfcc.shape, resampled.shape, stretched.shape, masked.mean().item())


@program("torchaudio")
def torchaudio_griffin_lim() -> None:
    import torchaudio

    wave = torch.randn(1, 4000, device="cuda")
    spectrogram = torchaudio.transforms.Spectrogram(n_fft=256).cuda()(wave)
    back = torchaudio.transforms.GriffinLim(n_fft=256, n_iter=4).cuda()(spectrogram)
    pitch = torchaudio.functional.detect_pitch_frequency(wave, 16000)
    vad = torchaudio.functional.vad(wave.cpu(), 16000)
    print(back.shape, pitch.shape, vad.shape)


@program("torchaudio")
def torchaudio_conformer_ctc() -> None:
    import torchaudio

    encoder = torchaudio.models.Conformer(
        input_dim=16, num_heads=2, ffn_dim=32, num_layers=2, depthwise_conv_kernel_size=7
    ).cuda()
    head = nn.Linear(16, 12).cuda()
    features = torch.randn(2, 40, 16, device="cuda")
    lengths = torch.tensor([40, 32], device="cuda")
    out, out_lengths = encoder(features, lengths)
    log_probs = head(out).log_softmax(-1).transpose(0, 1)
    targets = torch.randint(1, 12, (2, 6), device="cuda")
    loss = F.ctc_loss(log_probs, targets, out_lengths, torch.tensor([6, 4], device="cuda"), zero_infinity=True)
    loss.backward()
    greedy = [torch.unique_consecutive(each).tolist() for each in log_probs.argmax(-1).T]
    print([[token for token in each if token] for each in greedy])


@program("torchaudio")
def torchaudio_rnnt_beam_search() -> None:
    import torchaudio
    from torchaudio.models import RNNTBeamSearch, emformer_rnnt_model

    model = emformer_rnnt_model(
        input_dim=8,
        encoding_dim=16,
        num_symbols=12,
        segment_length=4,
        right_context_length=1,
        time_reduction_input_dim=8,
        time_reduction_stride=1,
        transformer_num_heads=2,
        transformer_ffn_dim=16,
        transformer_num_layers=1,
        transformer_dropout=0.0,
        transformer_activation="gelu",
        transformer_left_context_length=4,
        transformer_max_memory_size=0,
        transformer_weight_init_scale_strategy="depthwise",
        transformer_tanh_on_mem=True,
        symbol_embedding_dim=8,
        num_lstm_layers=1,
        lstm_layer_norm=True,
        lstm_layer_norm_epsilon=1e-3,
        lstm_dropout=0.0,
    )
    model = model.cuda().eval()
    decoder = RNNTBeamSearch(model, blank=11, temperature=1.0)
    features = torch.randn(1, 9, 8, device="cuda")
    with torch.no_grad():
        hypotheses = decoder(features, torch.tensor([9], device="cuda"), 2)
    print(len(hypotheses), torchaudio.__version__)


@program("torchaudio")
def torchaudio_wav2vec2_emissions() -> None:
    import torchaudio

    model = torchaudio.models.wav2vec2_model(
        extractor_mode="group_norm",
        extractor_conv_layer_config=[(16, 10, 5), (16, 3, 2)],
        extractor_conv_bias=False,
        encoder_embed_dim=32,
        encoder_projection_dropout=0.0,
        encoder_pos_conv_kernel=16,
        encoder_pos_conv_groups=4,
        encoder_num_layers=2,
        encoder_num_heads=2,
        encoder_attention_dropout=0.0,
        encoder_ff_interm_features=32,
        encoder_ff_interm_dropout=0.0,
        encoder_dropout=0.0,
        encoder_layer_norm_first=False,
        encoder_layer_drop=0.0,
        aux_num_out=10,
    )
    model = model.cuda().eval()
    with torch.inference_mode():
        emissions, lengths = model(torch.randn(2, 1600, device="cuda"), torch.tensor([1600, 1200], device="cuda"))
    emission = emissions.log_softmax(-1)[0].cpu()
    print(emission.argmax(-1).unique_consecutive().tolist(), lengths.cpu().tolist())


@program("transformers")
def whisper_transcribe() -> None:
    import transformers as tf

    config = tf.WhisperConfig(
        vocab_size=128,
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        max_source_positions=50,
        max_target_positions=40,
        num_mel_bins=16,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=127,
        decoder_start_token_id=2,
        suppress_tokens=[5, 6],
        begin_suppress_tokens=[7],
    )
    model = tf.WhisperForConditionalGeneration(config).to("cuda").eval()
    model.generation_config.suppress_tokens = [5, 6]
    model.generation_config.begin_suppress_tokens = [7]
    features = torch.randn(2, 16, 100, device="cuda")
    tokens = model.generate(features, max_new_tokens=6, min_new_tokens=6, do_sample=False)
    print(tokens.tolist())


@program("transformers")
def wav2vec2_training_with_masking() -> None:
    import transformers as tf

    config = tf.Wav2Vec2Config(
        vocab_size=20,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=(16, 16),
        conv_stride=(5, 2),
        conv_kernel=(10, 3),
        num_feat_extract_layers=2,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
        mask_time_prob=0.1,
        mask_time_length=2,
        mask_time_min_masks=1,
        layerdrop=0.0,
    )
    model = tf.Wav2Vec2ForCTC(config).cuda().train()
    labels = torch.randint(1, 20, (2, 8), device="cuda")
    labels[1, 5:] = -100
    out = model(torch.randn(2, 1600, device="cuda"), labels=labels)
    out.loss.backward()
    print(out.loss.item())


@program()
def spectral_gating_denoise() -> None:
    wave = torch.randn(2, 4096, device="cuda")
    window = torch.hann_window(512, device="cuda")
    spectrum = torch.stft(wave, 512, 128, window=window, return_complex=True)
    magnitude = spectrum.abs()
    floor = magnitude.median(dim=-1, keepdim=True).values
    gate = torch.where(magnitude > 1.5 * floor, 1.0, 0.1)
    clean = torch.istft(spectrum * gate, 512, 128, window=window, length=wave.size(-1))
    peak = clean.abs().max()
    if peak > 1:
        clean = clean / peak
    power = torch.fft.rfft(clean).abs().pow(2)
    loudest = torch.fft.rfftfreq(clean.size(-1), 1 / 16000)[power.argmax(-1).cpu()]
    convolved = torch.fft.irfft(torch.fft.rfft(clean, n=8192) * torch.fft.rfft(torch.randn(64, device="cuda"), n=8192))
    print(loudest.tolist(), convolved.std().item())
